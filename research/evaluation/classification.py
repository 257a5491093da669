"""Classes told right and wrong: accuracy, and precision, recall and F1 as means over classes."""

import numpy as np
from jaxtyping import Int


def classification(
    predictions: Int[np.ndarray, " N"], labels: Int[np.ndarray, " N"]
) -> dict[str, float]:
    """`accuracy`, and `precision`, `recall` and `f1`, each the plain mean over classes; 0 to 1.

    The classes are those among the predictions and the labels. One that is never predicted has
    precision 0, one that never is the label recall 0 (scikit-learn's macro averages).
    """
    from sklearn.metrics import precision_recall_fscore_support  # as slow to import as JAX

    means = precision_recall_fscore_support(
        labels, predictions, average="macro", zero_division=np.float64(0)
    )
    values = dict(zip(("precision", "recall", "f1"), map(float, means[:3]), strict=True))
    return {"accuracy": float(np.mean(predictions == labels)), **values}


def most_frequent(labels: Int[np.ndarray, " N"]) -> int:
    """The label of most examples; of two the first."""
    return int(np.bincount(labels).argmax())


def share_nats(seen: Int[np.ndarray, " N"], met: Int[np.ndarray, " M"], *, classes: int) -> float:
    """Mean nats of the labels `met` by shares of those `seen`, of which each class has one more."""
    counts = np.bincount(seen, minlength=classes) + 1
    return float(-np.log(counts / counts.sum())[met].mean())


def trivial_classifiers(
    seen: Int[np.ndarray, " N"], met: Int[np.ndarray, " M"], *, classes: int
) -> dict[str, dict[str, float]]:
    """What is got on labels `met` without an input, of those `seen`: `accuracy` by the most
    frequent class, `loss` in nats by each class's share."""
    majority = float(np.mean(met == most_frequent(seen)))
    return {
        "loss": {"shares": share_nats(seen, met, classes=classes)},
        "accuracy": {"majority": majority},
    }
