"""A run in its directory: started, resumed or read back, with everything that explains it."""

import contextlib
import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from research.configuration import check_arguments, check_keys
from research.data import pipelines
from research.errors import InputError
from research.experiment import Experiment, build
from research.files import held
from research.training import checkpoints as checkpointing
from research.training import pictures
from research.training.logs import (
    AlarmWriter,
    JsonlWriter,
    PictureWriter,
    ProgressWriter,
    TensorBoardWriter,
    Writer,
)
from research.training.loop import Hook
from research.training.manifest import ORIGIN, manifest, read_json, write_json
from research.training.rng import named
from research.training.sharding import axes_here, make_mesh, sharing
from research.training.state import TrainState, sha256
from research.training.types import Rng

# Sections of a config that no training depends on: they may change from one start to the next.
WATCHING = ("checkpoint", "log", "sample", "evaluate")


def run(config: ConfigDict, workdir: pathlib.Path) -> TrainState:
    """Trains `config` in `workdir`, from where the last run of the same config there stopped.

    The directory then holds config.json, manifest.json (with the final state's hash once the run
    is through), metrics.jsonl, TensorBoard events, checkpoints/ and samples/, tokenizer.json where
    texts are learned, and a lock.

    Raises:
      InputError: nothing can be trained by this config, and the directory isn't touched; or it
        was made by a config that trains otherwise, or its checkpoint by other code or on other
        data; or another process trains there, or it is no folder that can be written in.
    """
    experiment = build(config, files=workdir if is_begun(workdir, config) else None)
    experiment.check()
    with held(workdir):
        claim_directory(workdir, config)
        with contextlib.closing(
            checkpointing.Checkpoints(workdir / "checkpoints", keep=experiment.checkpoint["keep"])
        ) as checkpoints:
            description = described(experiment, config, workdir, kept=checkpoints.latest)
            write_json(workdir / "manifest.json", description)
            experiment.train_data.save(workdir)
            state = train_watched(experiment, workdir, checkpoints, description)
        if int(state.step) == experiment.steps:
            description["final_state_sha256"] = sha256(state)
            write_json(workdir / "manifest.json", description)
    return state


def described(
    experiment: Experiment, config: ConfigDict, workdir: pathlib.Path, *, kept: int | None
) -> dict[str, Any]:
    """The manifest of what is about to train; where checkpoint `kept` is the last, of what did.

    `earlier` tells what trained the steps up to each `until`, where others have begun.

    Raises:
      InputError: `kept` was trained on other data, and isn't the last.
    """
    hashes = {
        f"{data.name}/{data.split}": data.fingerprint
        for data in (experiment.train_data, experiment.test_data)
    }
    path = workdir / "manifest.json"
    earlier: list[dict[str, Any]] = []
    if kept is not None and path.exists():
        before = read_json(path)
        if kept == experiment.steps:
            return before
        check_data(experiment, before, workdir)
        earlier = before.pop("earlier", [])
        if kept > (earlier[-1]["until"] if earlier else 0):
            origin = {name: value for name, value in before.items() if name in ORIGIN}
            earlier.append({"until": kept, **origin})
    now = manifest(config=plain(config), seed=experiment.seed, data_hashes=hashes)
    return {**now, "earlier": earlier} if earlier else now


def check_data(experiment: Experiment, told: Mapping[str, Any], workdir: pathlib.Path) -> None:
    """Raises InputError where by the manifest `told` the run is of other data than there is."""
    data = experiment.train_data
    if told["data_sha256"].get(f"{data.name}/{data.split}") != data.fingerprint:
        raise InputError(
            f"{workdir} was trained on other data than {data.name}/{data.split} is now; "
            "give it that data again, move it away, or choose another --workdir"
        )


def train_watched(
    experiment: Experiment,
    workdir: pathlib.Path,
    checkpoints: checkpointing.Checkpoints,
    description: Mapping[str, Any],
) -> TrainState:
    """The experiment trained, and its metrics and samples written in `workdir`."""
    start = checkpoints.latest or 0
    writers: list[Writer] = [
        JsonlWriter(workdir / "metrics.jsonl", start=start),
        TensorBoardWriter(workdir, start=start),
        PictureWriter(workdir / "samples"),
        AlarmWriter(experiment.method.alarms),
        ProgressWriter(experiment.steps, start=start),
    ]
    try:
        return experiment.train(
            checkpoints=checkpoints,
            checkpoint_every=experiment.checkpoint["every_steps"],
            manifest=description,
            writers=writers,
            log_every=experiment.log["every_steps"],
            hooks=[sampling_hook(experiment, writers)] if experiment.sample["count"] else [],
        )
    finally:
        for writer in writers:
            writer.close()


def restore(workdir: pathlib.Path) -> tuple[Experiment, TrainState]:
    """The experiment that made `workdir` and its newest good state.

    Of a run on other devices than there are here, each has the whole state.

    Raises:
      InputError: the directory holds no run, no whole config, or no whole checkpoint.
    """
    path = workdir / "config.json"
    if not path.exists():
        raise InputError(f"{workdir} holds no run: {path} is missing (launch.train makes one)")
    found = read_json(path)
    config = ConfigDict(found if isinstance(found, dict) else {})
    try:
        check_keys(config)
        check_arguments(make_mesh, config.mesh.to_dict(), "mesh")
    except InputError as error:
        raise InputError(f"{path} is no config: {error}") from error
    config.mesh = ConfigDict(axes_here(config.mesh.to_dict()))
    experiment = build(config, files=workdir)
    return experiment, checkpointing.load(workdir / "checkpoints", experiment.layout())


class Estimate(NamedTuple):
    """A mean over examples and its standard error."""

    mean: float
    standard_error: float
    examples: int


def metrics_on_test(experiment: Experiment, state: TrainState) -> dict[str, Estimate]:
    """The method's per-example metrics over the whole test set, weighted if it says how."""
    evaluate = jax.jit(experiment.method.evaluate)
    rng = named(jax.random.key(experiment.seed), "evaluate")
    parts: dict[str, list[np.ndarray]] = {}
    batches = pipelines.batches(experiment.test_data, batch_size=experiment.evaluate["batch_size"])
    for index, batch in enumerate(batches):
        valid = batch.pop("mask") > 0
        with sharing(experiment.mesh):
            metrics = evaluate(state, batch, jax.random.fold_in(rng, index))
        for name, values in metrics.items():
            parts.setdefault(name, []).append(np.asarray(values)[valid])
    examples = {name: np.concatenate(values) for name, values in parts.items()}
    weight = examples.pop("weight", None)
    return {name: estimate(values, weight) for name, values in examples.items()}


def estimate(values: np.ndarray, weight: np.ndarray | None = None) -> Estimate:
    """The weighted mean of examples, by default all of one weight.

    The error is that of a ratio of two means over independent examples; of one example NaN.
    """
    share = np.ones(len(values)) if weight is None else weight / weight.mean()
    mean = float(np.mean(share * values))
    deviation = share * (values - mean)
    error = deviation.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return Estimate(mean, float(error), len(values))


def draw(
    experiment: Experiment, state: TrainState, rng: Rng, *, count: int, **options: Any
) -> dict[str, np.ndarray]:
    """`count` of each artefact, drawn in batches; `options` go before those of the config."""
    size = min(experiment.evaluate["batch_size"], count)
    options |= {"count": size, "total": count}
    batches = [
        experiment.draw(
            state,
            jax.random.fold_in(rng, index),
            **experiment.sample_options(first=index * size, **options),
        )
        for index in range(math.ceil(count / size))
    ]
    return {
        name: np.concatenate([np.asarray(batch[name]) for batch in batches])[:count]
        for name in batches[0]
    }


def sampling_hook(experiment: Experiment, writers: list[Writer]) -> Hook:
    """Draws from the model, always with the same noise, and shows it to the writers."""
    rng = named(jax.random.key(experiment.seed), "sample")

    def show(state: TrainState) -> None:
        artefacts = experiment.draw(state, rng, **experiment.sample_options())
        for name, values in artefacts.items():
            if pictures.kind(name):
                for writer in writers:
                    writer.artefact(int(state.step), name, values)

    return Hook(experiment.sample["every_steps"], show, at_start=True)


def plain(config: ConfigDict) -> dict[str, Any]:
    """The config as JSON has it: tuples are lists, all values resolved."""
    return json.loads(config.to_json())


def claim_directory(workdir: pathlib.Path, config: ConfigDict) -> None:
    """Makes `workdir` this config's own. Raises InputError as `is_begun`."""
    is_begun(workdir, config)
    write_json(workdir / "config.json", plain(config))


def is_begun(workdir: pathlib.Path, config: ConfigDict) -> bool:
    """Whether `workdir` has a checkpoint of this training, which another config may have watched.

    One without a checkpoint is anyone's: nothing of its training can be gone on with.

    Raises:
      InputError: it belongs to another training, and the differing keys are named.
    """
    has_checkpoint = bool(checkpointing.steps(workdir / "checkpoints"))
    path = workdir / "config.json"
    if path.exists() and has_checkpoint:
        before, now = (
            {key: value for key, value in values.items() if key not in WATCHING}
            for values in (read_json(path), plain(config))
        )
        if differing := differences(before, now):
            raise InputError(
                f"{workdir} was made by another config: {'; '.join(differing)}; "
                "choose another --workdir"
            )
    return has_checkpoint


def differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """One `key: before -> now` for each leaf that is not the same in both."""
    lines: list[str] = []
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key, "absent"), now.get(key, "absent")
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            lines += differences(old, new, f"{prefix}{key}.")
        elif old != new:
            lines.append(f"{prefix}{key}: {old!r} -> {new!r}")
    return lines
