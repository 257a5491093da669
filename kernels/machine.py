"""What a kernel is made for: this machine's device, an interpreter, or a compiler's target."""

import contextlib
import contextvars
import dataclasses
from collections.abc import Iterator
from typing import Any, Literal

import jax

from kernels.targets import TARGETS, Target, of_device

type Interpreter = Literal["plain", "races"]


@dataclasses.dataclass(frozen=True)
class Machine:
    """`target` is None on a device that `TARGETS` doesn't know.

    `recording`: Triton launches are noted and not made (kernels/triton_call.py).
    """

    platform: str
    target: Target | None
    interpreter: Interpreter | None = None
    recording: bool = False

    @property
    def interpreted(self) -> bool:
        return self.interpreter is not None


MACHINE: contextvars.ContextVar[Machine | None] = contextvars.ContextVar("machine", default=None)


def machine() -> Machine:
    """The machine that kernels are traced for now: by default that of JAX's first device."""
    here = MACHINE.get()
    if here is not None:
        return here
    return Machine(jax.default_backend(), of_device(jax.devices()[0].device_kind))


@contextlib.contextmanager
def interpreted(interpreter: Interpreter = "plain") -> Iterator[None]:
    """Runs kernels that are traced inside in their interpreter, on this machine.

    'races' is Pallas's slow TPU interpreter, which raises on a data race or an access out of
    bounds. A function that was jit-compiled before keeps what it was traced for.
    """
    with entered(dataclasses.replace(machine(), interpreter=interpreter)):
        yield


def pallas_interpreter() -> Any:
    """`pallas_call`'s `interpret` on a TPU's kernels, for the machine that is traced for."""
    from jax.experimental.pallas import tpu as pltpu

    races = pltpu.InterpretParams(detect_races=True)
    return {None: False, "plain": True, "races": races}[machine().interpreter]


@contextlib.contextmanager
def compiled_for(name: str) -> Iterator[Target]:
    """Traces kernels inside for a target of `TARGETS`, whether or not it is here."""
    target = TARGETS[name]
    with entered(Machine(target.platform, target, recording=target.platform == "gpu")):
        yield target


@contextlib.contextmanager
def entered(here: Machine) -> Iterator[None]:
    token = MACHINE.set(here)
    try:
        yield
    finally:
        MACHINE.reset(token)
