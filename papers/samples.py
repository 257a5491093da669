"""What the samples of a model are worth, beside trivial sets: distances that claims share."""

from typing import Any

import jax
import numpy as np

from research.data import image_sets
from research.data.scaling import scaled, to_levels
from research.evaluation.frechet import frechet_distance
from research.experiment import Experiment
from research.extractors import extractor, extractor_name
from research.scores.images import anchor_scores, reference_features
from research.training.state import TrainState


def draw(
    experiment: Experiment, state: TrainState, seed: int, *, count: int, **options: Any
) -> np.ndarray:
    """`count` images (count, H, W, C) in [-1, 1], every class in turn, always from the same x_T."""
    drawn = experiment.draw(state, jax.random.key(seed), count=count, **options)
    return np.asarray(drawn["images"])


def frechet(images: np.ndarray, dataset: str) -> float:
    """The Frechet distance to the training images in the features of the set's own extractor."""
    name = extractor_name(image_sets.load(dataset, "train"))
    features = extractor(name).features(rounded(images, dataset))
    return frechet_distance(features, reference_features(dataset, name, 0))


def trivial(dataset: str, count: int) -> dict[str, float]:
    """The Frechet distances of `count` test images and of as many images of trivial models."""
    named = {"floor": "test_images", "per_pixel_gaussian": "per_pixel_gaussian"}
    name = extractor_name(image_sets.load(dataset, "train"))
    scores = anchor_scores(dataset, name, count, 0)
    return {
        name: measured.value
        for anchor, name in named.items()
        for metric, measured in scores[anchor].items()
        if metric.startswith("frechet[")
    }


def rounded(images: np.ndarray, dataset: str) -> np.ndarray:
    """Images in [-1, 1] at the data's levels, as an image file rounds them."""
    levels = image_sets.load(dataset, "train").levels
    return scaled(to_levels(images, levels), levels)
