"""Precision, recall, density and coverage on sets small enough to count by hand."""

import math

import numpy as np
import pytest

from research.errors import InputError
from research.evaluation import precision_recall as module
from research.evaluation.precision_recall import coverage, density, precision, recall

REFERENCE = np.array([[0.0], [1.0], [3.0], [7.0]])  # 1-neighbour radii: 1, 1, 2, 4
FEATURES = np.array([[0.4], [2.5], [20.0], [-0.5]])  # 1-neighbour radii: 0.9, 2.1, 17.5, 0.9


def test_by_hand():
    # 0.4 lies in the balls of 0 and 1; 2.5 in that of 3; 20 in none; -0.5 in that of 0.
    assert precision(FEATURES, REFERENCE, k=1) == 3 / 4
    assert density(FEATURES, REFERENCE, k=1) == 4 / 4
    # 20's ball, of radius 17.5, holds 3 and 7; 0.4's holds 0 and 1.
    assert recall(FEATURES, REFERENCE, k=1) == 4 / 4
    # The balls of 0, 1 and 3 hold a feature; that of 7 has none within 4.
    assert coverage(FEATURES, REFERENCE, k=1) == 3 / 4


def test_the_radius_is_that_of_the_kth_neighbour():
    # 2-neighbour radii of the reference: 3, 2, 3, 6; 2.5 is then in all of its balls.
    assert density(np.array([[2.5]]), REFERENCE, k=2) == 4 / 2


def test_equal_sets_are_perfect_and_distant_ones_worthless():
    x = np.random.default_rng(0).normal(size=(50, 3))
    for measure in (precision, recall, coverage):
        assert measure(x, x) == 1
        assert measure(x + 100, x) == 0
    assert density(x + 100, x) == 0


def test_copies_of_a_row_lie_in_its_empty_ball():
    """Far from the origin, where squares are rounded most."""
    x = np.repeat(np.random.default_rng(0).normal(size=(20, 7)) + 1000, 5, axis=0)
    for measure in (precision, recall, coverage):
        assert measure(x, x, k=3) == measure(x[::5], x, k=3) == 1
    assert density(x[::5], x, k=3) == 5 / 3


def test_collapse_costs_recall_and_coverage_alone():
    x = np.random.default_rng(0).normal(size=(200, 2))
    collapsed = x[:1] + 0.01 * np.random.default_rng(1).normal(size=(200, 2))
    assert precision(collapsed, x) > 0.95
    assert recall(collapsed, x) < 0.05
    assert coverage(collapsed, x) < 0.1


@pytest.mark.parametrize("k", [1, 3])
def test_expected_coverage_of_equal_distributions(k):
    """Section 3.3.2 of 2002.09797: 1 - prod (N - i) / (2 N - i), i = 1..k, for N = M."""
    count, rng = 40, np.random.default_rng(0)
    draws = [coverage(*rng.normal(size=(2, count, 2)), k=k) for _ in range(60)]
    expected = 1 - math.prod((count - i) / (2 * count - i) for i in range(1, k + 1))
    assert abs(np.mean(draws) - expected) < 4 * np.std(draws) / np.sqrt(len(draws))


def test_invariances_and_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 5)), rng.normal(0.5, 1, size=(50, 5))
    rotation = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    values = [measure(x, y) for measure in (precision, recall, density, coverage)]
    monkeypatch.setattr(module, "BLOCK", 7)
    x, y = 3 * x @ rotation + 1000, 3 * y[::-1] @ rotation + 1000
    assert [measure(x, y) for measure in (precision, recall, density, coverage)] == values


@pytest.mark.parametrize("measure", [precision, density, coverage])
def test_too_few_rows(measure):
    with pytest.raises(InputError, match="more than 4 rows, here are 4"):
        measure(FEATURES, REFERENCE, k=4)


@pytest.mark.parametrize("measure", [precision, recall, density, coverage])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_not_finite(measure, bad):
    """They would lie in every ball, and be the best of samples."""
    spoilt = FEATURES.copy()
    spoilt[1, 0] = bad
    with pytest.raises(InputError, match=f"1 of {len(spoilt)} rows of features are not finite"):
        measure(spoilt, REFERENCE, k=1)
