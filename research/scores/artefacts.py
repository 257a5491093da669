"""What a method drew, scored by its kind."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from research.data.examples import Dataset
from research.data.image_sets import ImageSet
from research.scores.images import score_images
from research.scores.table import Score


def score(artefacts: Mapping[str, Any], dataset: Dataset) -> list[Score]:
    """Scores `images` against an image set; other artefacts have no score.

    Raises:
      InputError: as `score_images` does.
    """
    if "images" in artefacts and isinstance(dataset, ImageSet):
        return score_images(np.asarray(artefacts["images"]), dataset.name)
    return []
