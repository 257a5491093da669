"""Times of functions by turns on this machine, and the rates that bound it."""

import functools
import os
import pathlib
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from kernels.targets import Target, of_device

SQUARE = 3072
COPIED = 2**26  # floats, 256 MiB: past any cache


def seconds_by_turns(
    functions: Mapping[str, Callable[..., Any]],
    arrays: Sequence[jax.Array],
    *,
    rounds: int = 11,
    least: float = 0.05,
) -> dict[str, list[float]]:
    """Seconds a call of each function, `rounds` times: all once, then all again.

    A turn calls a function until `least` seconds have passed by its first, untimed calls. Functions
    are compiled; a turn ends when the device has.
    """
    calls = {name: calls_in(least, function, arrays) for name, function in functions.items()}
    found: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            found[name].append(stretch(function, arrays, calls[name]) / calls[name])
    return found


def calls_in(least: float, function: Callable[..., Any], arrays: Sequence[jax.Array]) -> int:
    stretch(function, arrays, 1)
    return max(1, round(least / stretch(function, arrays, 1)))


def stretch(function: Callable[..., Any], arrays: Sequence[jax.Array], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        out = function(*arrays)
    jax.block_until_ready(out)
    return time.perf_counter() - start


@functools.cache
def this_machine() -> Target:
    """JAX's first device as a target: from the table, or as measured by a product and a copy."""
    device = jax.devices()[0]
    known = of_device(device.device_kind)
    if known is not None:
        return known
    flops = {dtype: product_rate(dtype) for dtype in ("float32", "bfloat16")}
    return Target(jax.default_backend(), jax.default_backend(), "", flops, copy_rate(), 0)


def device_name() -> str:
    """The maker's name of JAX's first device; a CPU's with its cores."""
    kind = jax.devices()[0].device_kind
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    if kind != "cpu" or not cpuinfo.exists():
        return kind
    model = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.M)
    return f"{model[1].strip() if model else kind}, {len(os.sched_getaffinity(0))} cores"


def product_rate(dtype: str) -> float:
    """Flops a second of a large matrix product."""
    square = jax.random.normal(jax.random.key(0), (SQUARE, SQUARE)).astype(dtype)
    times = seconds_by_turns({"product": jax.jit(jnp.dot)}, [square, square], rounds=5)
    return 2 * SQUARE**3 / statistics.median(times["product"])


def copy_rate() -> float:
    """Bytes a second, read and written, of a large copy."""
    numbers = jnp.zeros(COPIED, jnp.float32)
    times = seconds_by_turns({"copy": jax.jit(lambda x: x + 1)}, [numbers], rounds=5)
    return 2 * numbers.nbytes / statistics.median(times["copy"])
