"""Models that claims share: trained once under runs/papers, and read back by whoever asks again."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from research.configuration import load_config
from research.errors import InputError
from research.experiment import Experiment, build
from research.run import check_data, metrics_on_test, plain, run
from research.training.manifest import read_json
from research.training.state import TrainState

RUNS = pathlib.Path("runs/papers")


def config(
    name: str,
    *,
    seed: int = 0,
    overrides: Mapping[str, Any] | None = None,
    save_every: int = 1000,
    log_every: int = 100,
) -> ConfigDict:
    """The config `name`, as `--config` takes it, with dotted overrides; it only trains."""
    made = load_config(name)
    made.update_from_flattened_dict({**(overrides or {}), "seed": seed})
    # What doesn't move the weights is fixed, so that no other wish for it voids a measurement.
    made.checkpoint = ConfigDict(dict(every_steps=save_every, keep=1))
    made.log = ConfigDict(dict(every_steps=log_every))
    made.sample = ConfigDict(dict(every_steps=0, count=0))
    made.evaluate = ConfigDict(dict(count=0, batch_size=1))
    return made


def test_metrics(experiment: Experiment, state: TrainState, *, batch_size: int) -> dict[str, float]:
    """The method's metrics over the whole test set."""
    whole = dataclasses.replace(experiment, evaluate={"batch_size": batch_size})
    return {name: metric.mean for name, metric in metrics_on_test(whole, state).items()}


def folder(made: ConfigDict, name: str) -> pathlib.Path:
    """runs/papers/NAME-KEY, of which the key changes with the config."""
    key = hashlib.sha256(repr(plain(made)).encode()).hexdigest()[:8]
    return RUNS / f"{name}-{key}"


def trained(made: ConfigDict, name: str) -> tuple[Experiment, TrainState]:
    """The model of a config trained, or resumed, or read back, in its `folder`.

    Raises:
      InputError: training was stopped before its last step, and the same command goes on; or it was
        of other data.
    """
    workdir = folder(made, name)
    state = run(made, workdir)
    if int(state.step) < made.steps:
        raise InputError(f"{workdir} stopped at step {int(state.step)}; the same command goes on")
    experiment = build(made, files=workdir)
    check_data(experiment, read_json(workdir / "manifest.json"), workdir)
    return experiment, state
