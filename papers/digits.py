"""The models of scikit-learn's digits that claims share, and what their samples are worth."""

import hashlib
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from research.configuration import load_config
from research.data.image_sets import LEVELS
from research.data.scaling import scaled, to_levels
from research.errors import InputError
from research.evaluation.frechet import frechet_distance
from research.experiment import Experiment, build
from research.extractors import RECIPES, extractor
from research.run import plain, run
from research.scores.images import anchor_scores, reference_features
from research.training.state import TrainState

RUNS = pathlib.Path("runs/papers")
CONFIG = "configs/ddpm.py:digits"
EXTRACTOR = "digits_convnet"
OVERRIDES: dict[str, dict[str, Any]] = {
    "cosine_simple": {},
    "linear_simple": {"method.schedule": "linear"},
    "cosine_hybrid": {"method.loss": "hybrid", "network.out_factor": 2},
}


def config(name: str, seed: int = 0) -> ConfigDict:
    """`CONFIG` with the named overrides and a seed; it only trains."""
    made = load_config(CONFIG)
    made.update_from_flattened_dict(OVERRIDES[name] | {"seed": seed})
    # What doesn't move the weights is fixed, so that no other wish for it voids a measurement.
    made.checkpoint = ConfigDict(dict(every_steps=500, keep=1))
    made.log = ConfigDict(dict(every_steps=50))
    made.sample = ConfigDict(dict(every_steps=0, count=0))
    made.evaluate = ConfigDict(dict(count=0, batch_size=1))
    return made


def settings(*names: str, classifiers: Sequence[str] = ()) -> dict[str, Any]:
    """What measurements on these models by these classifiers depend on: the resolved configs."""
    recipes = {name: load_config(f"configs/classifier.py:{RECIPES[name]}") for name in classifiers}
    return {name: plain(config(name)) for name in names} | {
        name: plain(recipe) for name, recipe in recipes.items()
    }


def trained(name: str, seed: int) -> tuple[Experiment, TrainState]:
    """The model trained, or resumed, or read back, under runs/papers.

    Raises:
      InputError: training was stopped before its last step; the same command goes on.
    """
    made = config(name, seed)
    key = hashlib.sha256(repr(plain(made)).encode()).hexdigest()[:8]
    workdir = RUNS / f"{name}-seed{seed}-{key}"
    state = run(made, workdir)
    if int(state.step) < made.steps:
        raise InputError(f"{workdir} stopped at step {int(state.step)}; the same command goes on")
    return build(made), state


def draw(
    experiment: Experiment, state: TrainState, seed: int, *, count: int, **options: Any
) -> np.ndarray:
    """`count` images (count, H, W, C) in [-1, 1], every class in turn, always from the same x_T."""
    drawn = experiment.method.sample(state, jax.random.key(seed), count=count, **options)
    return np.asarray(drawn["images"])


def frechet(images: np.ndarray) -> float:
    """The Frechet distance to the training images in the features of `EXTRACTOR`."""
    return frechet_distance(
        extractor(EXTRACTOR).features(rounded(images)), reference_features("digits", EXTRACTOR, 0)
    )


def trivial(count: int) -> dict[str, float]:
    """The Frechet distances of `count` test images and of as many images of trivial models."""
    named = {"floor": "test_images", "per_pixel_gaussian": "per_pixel_gaussian"}
    scores = anchor_scores("digits", EXTRACTOR, count, 0)
    return {
        name: measured.value
        for anchor, name in named.items()
        for metric, measured in scores[anchor].items()
        if metric.startswith("frechet[")
    }


def rounded(images: np.ndarray) -> np.ndarray:
    """Images in [-1, 1] at the data's levels, as an image file rounds them."""
    levels = LEVELS["digits"]
    return scaled(to_levels(images, levels), levels)
