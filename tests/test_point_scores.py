"""Scores of points: the mixture itself, half of it, and no sample at all."""

import numpy as np
import pytest

from research.data.datasets import load
from research.data.mixtures import MIXTURES, Mixture
from research.errors import InputError
from research.scores.artefacts import score
from research.scores.points import score_points


def values(samples, mixture):
    return {s.metric.split("[")[0]: s for s in score_points(samples, mixture)}


@pytest.mark.parametrize("name", ["ring", "grid"])
def test_the_mixture_itself_has_the_floor(name):
    mixture = MIXTURES[name]
    found = values(mixture.draw(2500, seed=7), mixture)
    assert found["modes"].value == found["modes"].floor == len(mixture.centres)
    assert found["high_quality"].value == pytest.approx(0.98889, abs=0.01)
    assert found["reverse_kl"].value < 0.02
    assert found["high_quality"].baselines["one_gaussian"] < 0.2
    assert found["modes"].baselines["one_point"] <= 1


def test_half_the_modes_are_half_covered():
    mixture = MIXTURES["ring"]
    half = Mixture(mixture.centres[:4], mixture.std)
    found = values(half.draw(2500, seed=0), mixture)
    assert found["modes"].value == 4
    assert found["reverse_kl"].value == pytest.approx(np.log(2), abs=0.01)


def test_artefacts_are_scored_by_their_kind():
    ring = load("ring", "test")
    points = ring.arrays()["point"][:2500]
    assert [s.sample_count for s in score({"points": points}, ring, ring)] == [2500] * 3
    assert score({"frames": np.zeros((1, 2, 4, 4, 1))}, ring, ring) == []
    with pytest.raises(InputError, match="finite"):
        score({"points": np.full((4, 2), np.nan)}, ring, ring)
