"""What a kernel is made for: this machine's device, an interpreter, or a compiler's target."""

import contextlib
import contextvars
import dataclasses
import functools
import os
import pathlib
import sys
from collections.abc import Iterator
from typing import Any, Literal

import jax
import jax.numpy as jnp

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

    'races' is Pallas's slow interpreter. A TPU's simulates two cores: an access out of bounds
    raises where it happens, and leaving raises RuntimeError if a kernel that ran inside had a data
    race. A GPU's always raises on the former, and with 'races' notes the latter. A function that
    was jit-compiled before keeps what it was traced for; traced for 'races', it must run inside.
    """
    watched = no_races() if interpreter == "races" else contextlib.nullcontext()
    with watched, entered(dataclasses.replace(machine(), interpreter=interpreter)):
        yield


CORES = 2  # that a TPU's interpreter simulates; one would run a parallel axis's programs in turn

# By id, the race detectors of the TPU kernels that run in each open `no_races()`, innermost last.
DETECTORS: list[dict[int, Any]] = []


@contextlib.contextmanager
def no_races() -> Iterator[None]:
    """Raises RuntimeError on leaving if a TPU kernel that ran inside had a data race.

    Pallas only prints a race and sets a flag, and each kernel has its own.
    """
    if threads() < CORES:  # or it would wait for ever
        raise ValueError(f"races need {CORES} cores, or NPROC={CORES} before JAX starts")
    detectors: dict[int, Any] = {}
    DETECTORS.append(detectors)
    try:
        yield
        jax.effects_barrier()  # a kernel may still run
    finally:
        DETECTORS.pop()
    if any(detector.races_found for detector in detectors.values()):
        raise RuntimeError("a TPU kernel has a data race: see what Pallas printed of it")


def note_detector(token: Any, grid_point: Any, core: Any) -> Any:
    """The interpreter calls it at each grid point, on a thread of its own."""
    from jax._src.pallas.mosaic.interpret import interpret_pallas_call

    if not DETECTORS:
        raise RuntimeError("a kernel traced for races runs outside, where none is raised")
    DETECTORS[-1][id(interpret_pallas_call.races)] = interpret_pallas_call.races
    return token


def threads() -> int:
    """Those of XLA's pool on this CPU: one a core, or NPROC."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    return int(os.environ.get("NPROC", cores or 1))


def multiplied(dtype: Any) -> jnp.dtype:
    """The dtype in which this machine multiplies factors of `dtype`.

    A CPU that has no instructions for bfloat16's multiplies float32, which costs it no more.
    """
    dtype = jnp.dtype(dtype)
    if dtype != jnp.bfloat16 or machine().platform != "cpu" or multiplies_bfloat16():
        return dtype
    return jnp.dtype(jnp.float32)


@functools.cache
def multiplies_bfloat16() -> bool:
    """Whether Linux tells of this CPU's instructions for it: AVX-512's, AMX's or ARM's."""
    told = pathlib.Path("/proc/cpuinfo")
    return told.exists() and "bf16" in told.read_text()


def pallas_interpreter(platform: Literal["tpu", "gpu"] = "tpu") -> Any:
    """Pallas's `interpret` for kernels made for `platform`, on the machine that is traced for."""
    interpreter = machine().interpreter
    if platform == "gpu":
        from jax.experimental.pallas import mosaic_gpu as plgpu

        detect = interpreter == "races"
        return interpreter is not None and plgpu.InterpretGPUParams(detect_races=detect)
    from jax.experimental.pallas import tpu as pltpu

    races = pltpu.InterpretParams(
        detect_races=True,
        num_cores_or_threads=CORES,
        grid_point_recorder=note_detector,
    )
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
