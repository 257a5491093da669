"""The small classifier: shapes, and every parameter is used."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.errors import InputError
from research.networks.convnet import ConvNet, halved


def test_shapes_and_gradients():
    network = ConvNet(num_classes=10, width=4, features=6)
    images = jax.random.normal(jax.random.key(0), (3, 8, 8, 1))
    params = jax.jit(network.init)(jax.random.key(1), images)
    logits, features = network.apply(params, images)
    assert logits.shape == (3, 10) and features.shape == (3, 6)
    gradient = jax.jit(jax.grad(lambda p: jnp.sum(network.apply(p, images)[0] ** 2)))(params)
    assert all(jnp.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradient))


def test_halved_takes_the_maximum():
    images = jnp.arange(16.0).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(halved(images)[0, :, :, 0], [[5, 7], [13, 15]])


def test_sides_that_cannot_be_halved_twice():
    with pytest.raises(InputError, match=r"14x12 can't be halved 2 times: .* multiples of 4"):
        ConvNet(num_classes=10).init(jax.random.key(0), jnp.zeros((1, 14, 12, 1)))
