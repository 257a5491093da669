"""The training loop against the bare compiled step, by turns."""

import statistics
import time
from collections import Counter
from typing import Any

import jax
from ml_collections import ConfigDict

from launch.profiles.bare_step import bare_step
from launch.turns import by_turns
from research.experiment import build

COMPILATION = "/jax/core/compile/backend_compile_duration"


def loop_over_step(config: ConfigDict, *, steps: int, rounds: int) -> dict[str, Any]:
    """Milliseconds a step in the loop (data, checks, logs) and bare (one batch), by turns."""
    experiment = build(config)
    step, state, batch, rng = bare_step(experiment)
    compiled, compiled_by_turn = Counter[str](), []

    def count_compilation(event: str, duration_secs: float, **_: Any) -> None:
        compiled.update([event] if event == COMPILATION else [])

    def bare() -> float:
        nonlocal state
        start = time.perf_counter()
        for _ in range(steps):
            state, metrics = step(state, batch, rng)
        jax.block_until_ready((state, metrics))
        seconds = time.perf_counter() - start
        compiled_by_turn.append(compiled.total())
        return seconds

    jax.monitoring.register_event_duration_secs_listener(count_compilation)
    log_every = experiment.log["every_steps"]
    *times, data_wait, _ = by_turns(
        experiment, bare, steps=steps, rounds=rounds, log_every=log_every
    )
    in_loop, alone = (1000 * statistics.median(seconds) / steps for seconds in times)
    return {
        "loop_over_step": in_loop / alone,
        "loop_ms": in_loop,
        "step_ms": alone,
        "data_wait": data_wait,
        "compilations_after_first_step": compiled.total() - compiled_by_turn[0],
        "rounds": rounds,
        "steps": steps,
        "device": jax.devices()[0].device_kind,
    }
