"""What a method drew, scored by its kind."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from research.data.examples import Dataset
from research.data.image_sets import ImageSet
from research.data.labelled_texts import LabelledSet
from research.data.point_sets import PointSet
from research.scores.classes import score_classes
from research.scores.images import score_images
from research.scores.points import score_points
from research.scores.table import Score


def score(artefacts: Mapping[str, Any], dataset: Dataset) -> list[Score]:
    """Scores `images` against an image set, `points` against a mixture, `predictions` by `labels`.

    Nothing else has a score.

    Raises:
      InputError: as `score_images` and `score_points` do.
    """
    if "images" in artefacts and isinstance(dataset, ImageSet):
        return score_images(np.asarray(artefacts["images"]), dataset.name)
    if "points" in artefacts and isinstance(dataset, PointSet):
        return score_points(np.asarray(artefacts["points"]), dataset.mixture)
    if "predictions" in artefacts and isinstance(dataset, LabelledSet):
        return score_classes(
            np.asarray(artefacts["predictions"]),
            np.asarray(artefacts["labels"]),
            train_labels=dataset.arrays()["label"],
            name=dataset.name,
        )
    return []
