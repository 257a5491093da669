"""What a method drew, scored by its kind, and how much of it can be."""

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from research.data.examples import Dataset
from research.data.image_sets import ImageSet
from research.data.labelled_texts import LabelledSet
from research.data.point_sets import PointSet
from research.data.text_sets import PairSet, TextSet
from research.errors import InputError
from research.experiment import Experiment
from research.extractors import extractor_name
from research.scores.classes import score_classes
from research.scores.images import score_images
from research.scores.points import score_points
from research.scores.table import Score
from research.scores.texts import score_pairs, score_texts


def check_count(experiment: Experiment, count: int) -> None:
    """Raises InputError where so many can't be drawn, or nothing can score the images."""
    test, most = experiment.test_data, len(experiment.test_data)
    if "batch" in inspect.signature(experiment.method.sample).parameters:
        if count > most:
            raise InputError(f"--count={count} is above the {most} test examples to draw after")
    elif isinstance(test, ImageSet) and count:
        if count > most:
            raise InputError(
                f"--count={count} is above the {most} test images that samples stand by"
            )
        extractor_name(test)


def score(artefacts: Mapping[str, Any], train: Dataset, test: Dataset) -> list[Score]:
    """Scores `images` of an image set, `points` of a mixture, `texts` of a text set or of pairs.

    Texts of pairs need `inputs` and `references` beside them; those of another set that have
    references have most of their words from these, and no score. `predictions` of labelled texts
    are scored by `labels`. Nothing else has a score.

    Raises:
      InputError: as `score_images` and `score_points` do.
    """
    if "images" in artefacts and isinstance(train, ImageSet):
        return score_images(np.asarray(artefacts["images"]), train.name)
    if "points" in artefacts and isinstance(train, PointSet):
        return score_points(np.asarray(artefacts["points"]), train.mixture)
    if "references" in artefacts:
        if not isinstance(train, PairSet):
            return []
        texts, inputs, references = (
            list(artefacts[name]) for name in ("texts", "inputs", "references")
        )
        return score_pairs(texts, inputs, references, train)
    if "texts" in artefacts and isinstance(train, TextSet) and isinstance(test, TextSet):
        return score_texts(list(artefacts["texts"]), train, test)
    if "predictions" in artefacts and isinstance(train, LabelledSet):
        return score_classes(
            np.asarray(artefacts["predictions"]),
            np.asarray(artefacts["labels"]),
            train_labels=train.arrays()["label"],
            name=train.name,
        )
    return []
