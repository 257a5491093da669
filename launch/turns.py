"""The training loop and something else by turns, so that both are timed on the same machine."""

import json
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from research.errors import InputError
from research.experiment import Experiment
from research.training.logs import JsonlWriter, TensorBoardWriter
from research.training.loop import Hook
from research.training.state import TrainState


class Turns(NamedTuple):
    """Seconds of each stretch, the loop's and the other's; what the loop came to.

    `data_wait` is the median share of its time that the loop waited for data.
    """

    looped: list[float]
    others: list[float]
    data_wait: float
    state: TrainState


def by_turns(
    experiment: Experiment, other: Callable[[], float], *, steps: int, rounds: int, log_every: int
) -> Turns:
    """`rounds` stretches of `steps` steps of the loop; after each `other()`, which says its time.

    One turn more of both goes first and is left out: it holds their compilation.

    Raises:
      InputError: a signal stopped it.
    """
    last = steps * (rounds + 1)
    looped, others = [], []
    mark = time.perf_counter()

    def turn(_: Any) -> None:
        nonlocal mark
        looped.append(time.perf_counter() - mark)
        others.append(other())
        mark = time.perf_counter()

    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory)
        state = experiment.train(
            steps=last,
            writers=[JsonlWriter(path / "metrics.jsonl"), TensorBoardWriter(path)],
            log_every=min(log_every or steps, steps),  # each turn's wait for data is in the log
            hooks=[Hook(steps, turn)],
        )
        if int(state.step) < last:
            raise InputError(f"stopped after {len(others)} of {rounds + 1} turns: nothing is told")
        logged = [json.loads(line) for line in (path / "metrics.jsonl").open()]
    waits = [line["data_wait"] for line in logged if line["step"] > steps]
    return Turns(looped[1:], others[1:], statistics.median(waits), state)
