"""The models of scikit-learn's digits that claims share."""

from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from papers import trained as models
from research.configuration import load_config
from research.experiment import Experiment
from research.extractors import RECIPES
from research.run import plain
from research.training.state import TrainState

CONFIG = "configs/ddpm.py:digits"
EXTRACTOR = "digits_convnet"
OVERRIDES: dict[str, dict[str, Any]] = {
    "cosine_simple": {},
    "linear_simple": {"method.schedule": "linear"},
    "cosine_hybrid": {"method.loss": "hybrid", "network.out_factor": 2},
}


def config(name: str, seed: int = 0) -> ConfigDict:
    """`CONFIG` with the named overrides and a seed; it only trains."""
    overrides = OVERRIDES[name]
    return models.config(CONFIG, seed=seed, overrides=overrides, save_every=500, log_every=50)


def settings(*names: str, classifiers: Sequence[str] = ()) -> dict[str, Any]:
    """What measurements on these models by these classifiers depend on: the resolved configs."""
    recipes = {name: load_config(f"configs/classifier.py:{RECIPES[name]}") for name in classifiers}
    return {name: plain(config(name)) for name in names} | {
        name: plain(recipe) for name, recipe in recipes.items()
    }


def trained(name: str, seed: int) -> tuple[Experiment, TrainState]:
    """The model trained, resumed or read back, as `papers.trained` has it."""
    return models.trained(config(name, seed), f"{name}-seed{seed}")
