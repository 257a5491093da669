"""One whole train step: what it must do, the least time that takes, its memory, and a trace."""

import math
import pathlib
import statistics
import time
from typing import Any

import jax
from ml_collections import ConfigDict

from kernels.measure import this_machine
from kernels.roofline import Work, product_flops
from launch.profiles.bare_step import bare_step
from research.experiment import build

TRACED = 3


def step_over_floor(config: ConfigDict, *, rounds: int, out: pathlib.Path) -> dict[str, Any]:
    """Milliseconds of the compiled step beside its floor on this machine; the trace is in `out`.

    The floor is that of one device of the mesh: an even share of the step's matrix products,
    convolutions and kernels, and moving what the device holds of the state in and out and of the
    batch in, each once. Flops and bytes are the device's. xprof or Perfetto opens the trace.
    """
    trace = out / "trace"
    trace.mkdir(parents=True, exist_ok=True)
    experiment = build(config)
    step, state, batch, rng = bare_step(experiment)
    state_bytes = bytes_of_a_device(state)
    moved = 2 * state_bytes + bytes_of_a_device(batch)
    traced = step.trace(state, batch, rng)
    step_flops, dtype = product_flops(traced.jaxpr.jaxpr)
    devices = experiment.mesh.size
    flops = step_flops / devices
    seconds, wall = Work(flops, moved, dtype).floor(this_machine())
    compiled = traced.lower().compile()

    def once() -> float:
        nonlocal state
        start = time.perf_counter()
        state, metrics = compiled(state, batch, rng)
        jax.block_until_ready((state, metrics))
        return time.perf_counter() - start

    once()
    times = [once() for _ in range(rounds)]
    with jax.profiler.trace(str(trace)):
        for _ in range(TRACED):
            once()
    milliseconds = 1000 * statistics.median(times)
    return {
        "step_ms": milliseconds,
        "step_ms_range": [1000 * min(times), 1000 * max(times)],
        "floor_ms": 1000 * seconds,
        "times_floor": milliseconds / (1000 * seconds),
        "wall": wall,
        "devices": devices,
        "product_flops": flops,
        "product_dtype": dtype,
        "bytes": moved,
        "intensity": flops / moved,
        "gflops_a_second": flops / milliseconds / 1e6,
        "state_bytes": state_bytes,
        "temporary_bytes": compiled.memory_analysis().temp_size_in_bytes,
        "trace": str(trace),
        "device": jax.devices()[0].device_kind,
        "device_gflops_a_second": this_machine().rate(dtype) / 1e9,
        "device_gigabytes_a_second": this_machine().bandwidth / 1e9,
    }


def bytes_of_a_device(tree: Any) -> int:
    """Of each array's shard, which is all of it where it is replicated."""
    return sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
    )
