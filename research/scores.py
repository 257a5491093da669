"""Scores of a sample set: each beside real data's own score and those of two trivial baselines."""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import rich.box
import rich.console
import rich.table
import rich.text
from jaxtyping import Array, Float, UInt8

from research.data import datasets
from research.errors import InputError
from research.evaluation.frechet import frechet_distance
from research.evaluation.kernel_distance import kernel_distance
from research.evaluation.precision_recall import coverage, density, precision, recall
from research.extractors import Extractor, extractor_name, judge_name
from research.extractors import extractor as load_extractor
from research.run import Estimate
from research.training.manifest import write_json

SCHEMA_VERSION = 1
REFERENCE_COUNT = 10_000  # training images compared with, at most
SURE = 0.9  # the judge's probability above which it counts as sure
BASELINES = ("uniform_noise", "per_pixel_gaussian")

Better = Literal["lower", "higher"]
Images = Float[np.ndarray, "N H W C"]
Features = Float[np.ndarray, "N D"]


@dataclasses.dataclass(frozen=True)
class Score:
    """One row. `floor` is what real test images get by the same means and count."""

    metric: str
    value: float
    floor: float
    baselines: dict[str, float]
    better: Better
    extractor: str
    extractor_sha256: str
    sample_count: int


class Measure(NamedTuple):
    """A metric of features against the reference's; the neighbours it counts are in its name."""

    of: Callable[[Features, Features], float]
    better: Better
    note: str = ""


MEASURES = {
    "frechet": Measure(frechet_distance, "lower"),
    "kernel_distance": Measure(kernel_distance, "lower"),
    "precision": Measure(functools.partial(precision, k=3), "higher", ",k=3"),
    "recall": Measure(functools.partial(recall, k=3), "higher", ",k=3"),
    "density": Measure(functools.partial(density, k=5), "higher", ",k=5"),
    "coverage": Measure(functools.partial(coverage, k=5), "higher", ",k=5"),
}


def score_images(
    samples: Float[Array, "N H W C"] | Images,
    dataset: str,
    *,
    extractor: str | None = None,
    seed: int = 0,
) -> list[Score]:
    """Scores samples in [-1, 1] against training images of `dataset`, at most `REFERENCE_COUNT`.

    All sets are rounded to the data's levels first, as an image file rounds them. The last row is
    the share of images of which an independent classifier is over 90% sure, where the set has
    one. `seed` draws the reference, the floor's test images and the baselines.

    Raises:
      InputError: the samples are not finite, fewer than the neighbours that are counted, more
        than the test images, or not of the extractor's shape; or the set has no extractor.
    """
    images = np.asarray(samples, np.float32)
    train, test = datasets.load(dataset, "train"), datasets.load(dataset, "test")
    if not np.isfinite(images).all():
        raise InputError("the samples are not finite: nothing to score")
    if len(images) > len(test):
        raise InputError(
            f"{len(images)} samples are too many: the floor takes as many of the test images, and "
            f"{dataset} has {len(test)}"
        )
    name = extractor or extractor_name(train)
    anchors = anchor_scores(dataset, name, len(images), seed)
    return [
        Score(
            metric=metric,
            value=measured.value,
            floor=anchors["floor"][metric].value,
            baselines={baseline: anchors[baseline][metric].value for baseline in BASELINES},
            better=measured.better,
            extractor=measured.extractor.name,
            extractor_sha256=measured.extractor.sha256,
            sample_count=len(images),
        )
        for metric, measured in measure(images, dataset, name, seed).items()
    ]


class Measured(NamedTuple):
    """One value of one set of images."""

    value: float
    better: Better
    extractor: Extractor


def measure(images: Images, dataset: str, extractor: str, seed: int) -> dict[str, Measured]:
    """The value of each metric, by its full name, after rounding to the data's levels."""
    train = datasets.load(dataset, "train")
    images = scaled(to_levels(images, train.levels), train.levels)
    measured = {}
    by, count = load_extractor(extractor), len(images)
    features, reference = by.features(images), reference_features(dataset, extractor, seed)
    for name, (of, better, note) in MEASURES.items():
        metric = f"{name}[{by.name},n={count},{by.size(images)}{note}]"
        measured[metric] = Measured(of(features, reference), better, by)
    if judge := judge_name(train):
        by = load_extractor(judge)
        share = float((by.probabilities(images).max(axis=1) > SURE).mean())
        metric = f"confident_share[{by.name},n={count},{by.size(images)},p>{SURE}]"
        measured[metric] = Measured(share, "higher", by)
    return measured


@functools.cache
def anchor_scores(
    dataset: str, extractor: str, count: int, seed: int
) -> dict[str, dict[str, Measured]]:
    """What `measure` says of `count` test images (`floor`) and of `count` of each baseline."""
    sets = anchor_images(dataset, count, seed)
    return {name: measure(images, dataset, extractor, seed) for name, images in sets.items()}


def anchor_images(dataset: str, count: int, seed: int) -> dict[str, Images]:
    """`count` test images, and as many of uniform noise and of a Gaussian fitted to each pixel."""
    train, test = datasets.load(dataset, "train"), datasets.load(dataset, "test")
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(len(test), count, replace=False))
    shape = (count, *train.image_shape)
    noise = rng.integers(0, train.levels, shape, dtype=np.uint8)
    pixels = train.arrays()["image"]
    mean, std = (f(pixels, axis=0, dtype=np.float64) for f in (np.mean, np.std))
    gaussian = (mean + std * rng.standard_normal(shape)) * 2 / (train.levels - 1) - 1
    return {
        "floor": scaled(test.arrays()["image"][chosen], test.levels),
        "uniform_noise": scaled(noise, train.levels),
        "per_pixel_gaussian": gaussian.clip(-1, 1).astype(np.float32),
    }


@functools.cache
def reference_features(dataset: str, extractor: str, seed: int) -> Features:
    """Features of the training images that everything is compared with."""
    train = datasets.load(dataset, "train")
    order = np.random.default_rng(seed).permutation(len(train))
    chosen = np.sort(order[:REFERENCE_COUNT])
    return load_extractor(extractor).features(scaled(train.arrays()["image"][chosen], train.levels))


def scaled(images: UInt8[np.ndarray, "N H W C"], levels: int) -> Images:
    """Integers 0..levels - 1 as float32 in [-1, 1]."""
    return images.astype(np.float32) * (2 / (levels - 1)) - 1


def to_levels(images: Images, levels: int) -> UInt8[np.ndarray, "N H W C"]:
    """The nearest of the integers 0..levels - 1 for images in [-1, 1], clipped to that range."""
    return np.clip(np.rint((images + 1) * ((levels - 1) / 2)), 0, levels - 1).astype(np.uint8)


def write_scores(
    path: pathlib.Path, scores: Sequence[Score], *, test_metrics: Mapping[str, Estimate]
) -> None:
    """Writes `scores.json`: the scores of samples, and the method's metrics on the test set."""
    content = {
        "schema_version": SCHEMA_VERSION,
        "scores": [dataclasses.asdict(score) for score in scores],
        "test_metrics": {name: metric._asdict() for name, metric in test_metrics.items()},
    }
    write_json(path, content)


def read_scores(path: pathlib.Path) -> list[Score]:
    """What `write_scores` wrote. Raises InputError: no such file, or another schema version."""
    if not path.exists():
        raise InputError(f"{path} is missing (launch.evaluate writes it)")
    content = json.loads(path.read_text())
    if content["schema_version"] != SCHEMA_VERSION:
        found = content["schema_version"]
        raise InputError(f"{path} has schema version {found}, this code reads {SCHEMA_VERSION}")
    return [Score(**row) for row in content["scores"]]


def print_scores(scores: Sequence[Score]) -> None:
    """Prints a table: ours, real data's and the baselines'; an arrow points to the better end."""
    table = rich.table.Table(box=rich.box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("metric", overflow="fold")
    for column in ("", "ours", "floor", *("\n".join(name.rsplit("_", 1)) for name in BASELINES)):
        table.add_column(column.replace("_", "-"), justify="right", no_wrap=True)
    for score in scores:
        values = (score.value, score.floor, *(score.baselines[name] for name in BASELINES))
        arrow = {"lower": "↓", "higher": "↑"}[score.better]
        name, bracket, details = score.metric.partition("[")
        row = rich.text.Text.assemble(name, "\n", (f"  {bracket}{details}", "dim"))
        table.add_row(row, arrow, *(f"{value:.4g}" for value in values))
    rich.console.Console(highlight=False).print(table)
