"""One way to launch a Mosaic GPU kernel: on Hopper, in JAX's interpreter, or with a note of it."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax.experimental.pallas import mosaic_gpu as plgpu

from kernels.estimate import estimated
from kernels.machine import machine, pallas_interpreter, threads


@dataclasses.dataclass(frozen=True)
class Launch:
    """What a compiler's report needs to know of a launch.

    `trips`: how often the loops with matrix instructions run in the mean program, in their order.
    """

    name: str
    programs: int
    multiplying: int
    trips: tuple[float, ...]


RECORDED: list[Launch] = []
THREADS = 8


def interpreter_refuses() -> str | None:
    """Why a kernel would wait for ever where it is traced, or None."""
    return too_few_threads() if machine().interpreted else None


def too_few_threads() -> str | None:
    """A kernel's warpgroups are threads that wait for each other on XLA's pool, one a core."""
    if threads() >= THREADS:
        return None
    return f"its interpreter needs {THREADS} cores, or NPROC={THREADS} before JAX starts"


def mosaic_gpu_call(
    *arrays: jax.Array,
    kernel: Callable[..., None],
    out: tuple[jax.ShapeDtypeStruct, ...],
    launch: Launch,
    flops: float,
    scratch: Mapping[str, Any],
) -> tuple[jax.Array, ...]:
    """The outputs that `kernel` writes: its parameters are `arrays`, `out`, `scratch` by name.

    `flops` are what it must do, the first array a factor (`estimated`). It runs on
    `launch.multiplying` warpgroups and one that loads, axis 'warpgroup', in `launch.programs`
    programs, axis 'program'.
    """
    if machine().recording:
        RECORDED.append(launch)
    return plgpu.kernel(
        kernel,
        out_type=out,
        scratch_types=scratch,
        grid=(launch.programs,),
        grid_names=("program",),
        num_threads=launch.multiplying + 1,
        thread_name="warpgroup",
        kernel_name=launch.name,
        compiler_params=plgpu.CompilerParams(approx_math=True),
        interpret=pallas_interpreter("gpu"),
    )(*estimated(arrays, flops))
