"""Classes' scores: a case counted by hand, and what predicts nothing of a class."""

import numpy as np
import pytest

from research.evaluation.classification import classification, most_frequent, share_nats

LABELS = np.array([0, 0, 0, 0, 1, 1, 2, 2])


def test_means_over_classes_counted_by_hand():
    found = classification(np.array([0, 0, 0, 1, 1, 1, 1, 2]), LABELS)
    assert found["accuracy"] == pytest.approx(6 / 8)
    assert found["precision"] == pytest.approx((1 + 2 / 4 + 1) / 3)
    assert found["recall"] == pytest.approx((3 / 4 + 1 + 1 / 2) / 3)
    f1 = [2 * p * r / (p + r) for p, r in ((1, 3 / 4), (1 / 2, 1), (1, 1 / 2))]
    assert found["f1"] == pytest.approx(np.mean(f1))


def test_the_majority_has_the_recall_of_one_class():
    found = classification(np.full(8, most_frequent(LABELS)), LABELS)
    expected = {"accuracy": 1 / 2, "precision": 1 / 6, "recall": 1 / 3, "f1": 2 / 9}
    assert found == pytest.approx(expected)


def test_shares_cost_the_entropy():
    labels = np.repeat([0, 1], [750, 250])
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert share_nats(labels, labels, classes=2) == pytest.approx(entropy, rel=1e-3)
    assert np.isfinite(share_nats(labels, np.array([2]), classes=3))
