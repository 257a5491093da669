"""Scores of a classifier's answers, beside the class that is most frequent in training."""

import numpy as np
from jaxtyping import Int

from research.evaluation.classification import classification, most_frequent
from research.scores.table import Score


def score_classes(
    predictions: Int[np.ndarray, " N"],
    labels: Int[np.ndarray, " N"],
    *,
    train_labels: Int[np.ndarray, " M"],
    name: str,
) -> list[Score]:
    """Accuracy and macro precision, recall and F1; the floor is the labels' own, 1."""
    majority = np.full_like(labels, most_frequent(train_labels))
    trivial = classification(majority, labels)
    return [
        Score(
            metric=f"{metric}[{name},n={len(labels)}]",
            value=value,
            floor=1.0,
            baselines={"majority": trivial[metric]},
            better="higher",
            sample_count=len(labels),
        )
        for metric, value in classification(predictions, labels).items()
    ]
