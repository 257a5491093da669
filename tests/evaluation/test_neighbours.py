"""Nearest training neighbours: found in order, in pixels or features, and set in rows."""

import numpy as np
import pytest

from research.errors import InputError
from research.evaluation.neighbours import nearest, neighbour_images

TRAINING = np.random.default_rng(0).normal(size=(20, 4, 4, 1)).astype(np.float32)


def test_a_remembered_image_is_its_own_neighbour():
    flat = TRAINING.reshape(20, -1)
    indices, found = nearest(flat[[3, 8]], flat, k=2)
    assert indices[:, 0].tolist() == [3, 8] and np.abs(found[:, 0]).max() < 1e-6
    by_hand = np.linalg.norm(flat.astype(np.float64) - flat[3], axis=1)
    assert indices[0, 1] == np.argsort(by_hand)[1]
    assert found[0, 1] == pytest.approx(np.sort(by_hand)[1])


def test_rows_are_a_sample_and_its_neighbours():
    samples = TRAINING[[5, 6]] + 0.01
    rows = neighbour_images(samples, TRAINING, k=3)
    assert rows.shape == (8, 4, 4, 1)
    np.testing.assert_array_equal(rows[[0, 4]], samples)
    np.testing.assert_array_equal(rows[[1, 5]], TRAINING[[5, 6]])


@pytest.mark.parametrize("k", [0, 21])
def test_more_neighbours_than_there_are(k):
    with pytest.raises(InputError, match=f"k={k}"):
        nearest(TRAINING.reshape(20, -1), TRAINING.reshape(20, -1), k=k)
