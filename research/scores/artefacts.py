"""What a method drew, scored by its kind."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from research.data.examples import Dataset
from research.data.image_sets import ImageSet
from research.data.point_sets import PointSet
from research.scores.images import score_images
from research.scores.points import score_points
from research.scores.table import Score


def score(artefacts: Mapping[str, Any], dataset: Dataset) -> list[Score]:
    """Scores `images` against an image set and `points` against a mixture; nothing else has one.

    Raises:
      InputError: as `score_images` and `score_points` do.
    """
    if "images" in artefacts and isinstance(dataset, ImageSet):
        return score_images(np.asarray(artefacts["images"]), dataset.name)
    if "points" in artefacts and isinstance(dataset, PointSet):
        return score_points(np.asarray(artefacts["points"]), dataset.mixture)
    return []
