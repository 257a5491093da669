"""Scores of images: distances in features of a named extractor, to the training images."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from research.data import image_sets
from research.data.image_sets import ImageSet
from research.data.pipelines import rows
from research.data.scaling import Images, scaled, to_levels
from research.errors import InputError
from research.evaluation.frechet import frechet_distance
from research.evaluation.kernel_distance import kernel_distance
from research.evaluation.precision_recall import coverage, density, precision, recall
from research.extractors import Extractor, extractor_name, judge_name
from research.extractors import extractor as load_extractor
from research.scores.table import Better, Score

REFERENCE_COUNT = 10_000  # training images compared with, at most
SURE = 0.9  # the judge's probability above which it counts as sure
BASELINES = ("uniform_noise", "per_pixel_gaussian")

Features = Float[np.ndarray, "N D"]


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
    samples: Images,
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
      InputError: the samples are not finite, three (the neighbours of recall) or fewer, more than
        the test images, or not of the extractor's shape; or the set has no extractor.
    """
    images = np.asarray(samples, np.float32)
    train, test = image_sets.load(dataset, "train"), image_sets.load(dataset, "test")
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
    train = image_sets.load(dataset, "train")
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
    """`count` test images, and as many of uniform noise and of a Gaussian fitted to each pixel.

    The Gaussian is fitted to the training images, or to the reference's where not all fit in
    memory.
    """
    train, test = image_sets.load(dataset, "train"), image_sets.load(dataset, "test")
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(len(test), count, replace=False))
    shape = (count, *train.image_shape)
    noise = rng.integers(0, train.levels, shape, dtype=np.uint8)
    pixels = train.arrays()["image"] if train.fits_in_memory else reference_images(train, seed)
    # A row of pixels at a time: in float64 all of them would be eight times the set.
    mean, std = (
        np.stack([f(row, axis=0, dtype=np.float64) for row in np.moveaxis(pixels, 1, 0)])
        for f in (np.mean, np.std)
    )
    gaussian = (mean + std * rng.standard_normal(shape)) * 2 / (train.levels - 1) - 1
    return {
        "floor": scaled(rows(test, chosen.tolist())["image"], test.levels),
        "uniform_noise": scaled(noise, train.levels),
        "per_pixel_gaussian": gaussian.clip(-1, 1).astype(np.float32),
    }


@functools.cache
def reference_features(dataset: str, extractor: str, seed: int) -> Features:
    """Features of the training images that everything is compared with."""
    train = image_sets.load(dataset, "train")
    return load_extractor(extractor).features(scaled(reference_images(train, seed), train.levels))


def reference_images(train: ImageSet, seed: int) -> np.ndarray:
    """Training images in levels, chosen by the seed; no others are decoded."""
    order = np.random.default_rng(seed).permutation(len(train))
    return rows(train, np.sort(order[:REFERENCE_COUNT]).tolist())["image"]
