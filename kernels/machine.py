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

    `recording`: launches are noted, and Triton's are not made (kernels/triton_call.py,
    kernels/mosaic_gpu_call.py).
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

    'races' is Pallas's slow interpreter: a TPU kernel's raises on a data race or an access out of
    bounds; a GPU kernel's always raises on the latter, and with 'races' notes the former. A
    function that was jit-compiled before keeps what it was traced for.
    """
    with entered(dataclasses.replace(machine(), interpreter=interpreter)):
        yield


def pallas_interpreter(platform: Literal["tpu", "gpu"] = "tpu") -> Any:
    """Pallas's `interpret` for kernels made for `platform`, on the machine that is traced for."""
    interpreter = machine().interpreter
    if platform == "gpu":
        from jax.experimental.pallas import mosaic_gpu as plgpu

        detect = interpreter == "races"
        return interpreter is not None and plgpu.InterpretGPUParams(detect_races=detect)
    from jax.experimental.pallas import tpu as pltpu

    races = pltpu.InterpretParams(detect_races=True)
    return {None: False, "plain": True, "races": races}[interpreter]


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
