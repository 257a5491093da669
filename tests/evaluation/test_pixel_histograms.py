"""Pixel histograms: their bits by hand, in one part or in several."""

import numpy as np
import pytest

from research.evaluation.pixel_histograms import histogram_bits


def test_each_pixel_costs_by_its_own_counts_and_one_more():
    seen = np.array([[0, 1], [0, 2], [0, 1]], np.uint8).reshape(3, 1, 2, 1)
    met = np.array([[0, 2], [2, 1]], np.uint8).reshape(2, 1, 2, 1)
    chances = [4 / 6, 2 / 6, 1 / 6, 3 / 6]  # of three levels, after 3 images and one of each
    assert histogram_bits([seen], [met], levels=3) == pytest.approx(-np.log2(chances).mean())
    parts = histogram_bits([seen[:1], seen[1:]], [met[:1], met[1:]], levels=3)
    assert parts == pytest.approx(-np.log2(chances).mean())
