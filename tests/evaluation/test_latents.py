"""Latent pictures of a linear autoencoder, where every pixel is known."""

import numpy as np
import pytest

from research.errors import InputError
from research.evaluation.latents import (
    active_units,
    interpolation,
    latent_map,
    map_picture,
    most_active,
    traversal,
)


def encode(images):
    return images.reshape(len(images), -1)


def decode(z):
    return z.reshape(len(z), 1, 3, 1)


def test_interpolation_is_a_row_a_pair_from_end_to_end():
    first, last = np.zeros((2, 1, 3, 1), np.float32), np.ones((2, 1, 3, 1), np.float32)
    last[1] = -1
    found = interpolation(encode, decode, first, last, steps=5)
    assert found.shape == (10, 1, 3, 1)
    np.testing.assert_allclose(found[:5, 0, 0, 0], [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(found[5:, 0, 2, 0], [0, -0.25, -0.5, -0.75, -1])


def test_traversal_moves_one_latent_a_row():
    z = np.array([1.0, 2.0, 3.0], np.float32)
    rows = traversal(decode, z, [2, 0], steps=3, span=2.0).reshape(2, 3, 3)
    np.testing.assert_array_equal(rows[0], [[1, 2, -2], [1, 2, 0], [1, 2, 2]])
    np.testing.assert_array_equal(rows[1], [[-2, 2, 3], [0, 2, 3], [2, 2, 3]])
    np.testing.assert_array_equal(z, [1, 2, 3])


def test_a_latent_that_is_not_there():
    with pytest.raises(InputError, match=r"must lie in 0\.\.2"):
        traversal(decode, np.zeros(3, np.float32), [3])


def test_active_units_are_those_that_vary():
    means = np.random.default_rng(0).normal(size=(1000, 4)) * [0, 1, 0.05, 0.5] + [5, 0, 0, 0]
    assert active_units(means) == 2
    assert most_active(means, 3) == [1, 3, 2]


def test_the_map_keeps_the_largest_distances():
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    plane = rng.normal(size=(50, 2)) * [3, 2]
    means = np.concatenate([plane, np.zeros((50, 3))], axis=1) @ rotation
    found = latent_map(means)
    distances = [np.linalg.norm(p[:, None] - p, axis=-1) for p in (plane, found)]
    np.testing.assert_allclose(*distances, atol=1e-6)
    np.testing.assert_array_equal(latent_map(plane), plane)


def test_the_map_is_a_picture_in_the_labels_colours():
    means = np.random.default_rng(0).normal(size=(20, 3))
    labels = np.arange(20) % 4
    picture = map_picture(means, labels, num_classes=4)
    assert picture.shape == (1, 500, 500, 3)
    assert picture.min() >= -1 and picture.max() == 1
    assert (picture != map_picture(means, 3 - labels, num_classes=4)).any()


@pytest.mark.parametrize(
    ("means", "labels", "message"),
    [
        (np.zeros((5, 1)), np.zeros(5, int), "no map"),
        (np.zeros((5, 3)), np.full(5, 3), r"must lie in 0\.\.2"),
        (np.zeros((5, 3)), np.full(5, -1), r"must lie in 0\.\.2"),
    ],
)
def test_what_has_no_map(means, labels, message):
    with pytest.raises(InputError, match=message):
        map_picture(means, labels, num_classes=3)
