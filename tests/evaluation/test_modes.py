"""Mode scores of samples made by hand: perfect, collapsed, off the mark."""

import math

import numpy as np
import pytest

from research.data.mixtures import MIXTURES, grid
from research.errors import InputError
from research.evaluation.modes import baselines, mode_counts, mode_scores

GRID = grid()


@pytest.mark.parametrize("name", ["ring", "grid"])
def test_a_perfect_sampler(name):
    """98.89% of a plane Gaussian lie within 3 deviations: 1 - exp(-9/2)."""
    mixture = MIXTURES[name]
    scores = mode_scores(mixture.draw(100_000, seed=0), mixture.centres, mixture.std)
    assert scores["modes"] == len(mixture.centres)
    assert scores["high_quality"] == pytest.approx(1 - math.exp(-9 / 2), abs=1.5e-3)
    # Its expectation is (K - 1) / 2N.
    assert scores["reverse_kl"] == pytest.approx(0, abs=5e-4)


def test_three_modes_of_unequal_shares():
    points = np.repeat(GRID.centres[[0, 7, 24]], [1, 1, 2], axis=0)
    scores = mode_scores(points, GRID.centres, GRID.std)
    assert scores["modes"] == 3 and scores["high_quality"] == 1
    assert scores["reverse_kl"] == pytest.approx(np.log(25) - 1.5 * np.log(2))


def test_one_mode_alone_has_the_largest_divergence():
    scores = mode_scores(GRID.centres[:1], GRID.centres, GRID.std)
    assert scores == {"modes": 1, "high_quality": 1, "reverse_kl": pytest.approx(np.log(25))}


def test_quality_is_strictly_within_three_deviations_of_the_nearest_mode():
    std = 0.5  # 3 std is 1.5 exactly
    centres = np.array([[0.0, 0.0], [10.0, 0.0]])
    points = np.array([[1.5, 0.0], [1.499, 0.0], [0.0, -1.499], [8.6, 0.0], [5.1, 0.0]])
    assert mode_counts(points, centres, std).tolist() == [2, 1]
    assert mode_scores(points, centres, std)["high_quality"] == pytest.approx(3 / 5)


def test_nothing_good_covers_nothing():
    scores = mode_scores(np.full((3, 2), 100.0), GRID.centres, GRID.std)
    assert scores == {"modes": 0, "high_quality": 0, "reverse_kl": pytest.approx(np.log(25))}


def test_trivial_samplers():
    """One Gaussian hits modes by chance, and seldom; a copied point hits one."""
    real = GRID.draw(10_000, seed=0)
    scores = {
        name: mode_scores(points, GRID.centres, GRID.std)
        for name, points in baselines(real, 2500, seed=0).items()
    }
    assert scores["one_gaussian"]["high_quality"] < 0.05
    assert scores["one_point"]["modes"] == 1


@pytest.mark.parametrize("points", [np.zeros((0, 2)), np.array([[0.0, np.nan]])])
def test_bad_points(points):
    with pytest.raises(InputError, match="nothing to score"):
        mode_scores(points, GRID.centres, GRID.std)
