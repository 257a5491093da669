"""Likelihoods: their fast forms are the plain ones."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from research.methods.likelihoods import random_uint16, sum_log_sigmoid

RNG = jax.random.key(0)


def test_sum_log_sigmoid_and_its_gradient():
    extremes = np.array([-200.0, -20.0, -1.0, 0.0, 1.0, 20.0, 200.0], np.float32)
    single = jnp.asarray(extremes).reshape(-1, 1, 1, 1)
    value, back = jax.vjp(sum_log_sigmoid, single)
    exact = extremes.astype(np.float64)
    # A factor 1 + exp(-|x|) is rounded to 2^-24 of itself.
    np.testing.assert_allclose(value, scipy.special.log_expit(exact), rtol=1e-6, atol=2**-24)
    slope = back(jnp.ones(len(exact)))[0].reshape(-1)
    np.testing.assert_allclose(slope, scipy.special.expit(-exact), atol=1e-6)


@pytest.mark.parametrize("shape", [(28, 28, 1), (8, 8, 3), (5, 7, 1)])
def test_sum_log_sigmoid_sums_images_of_any_size(shape):
    images = 6 * jax.random.normal(RNG, (2, 3, *shape))
    expected = scipy.special.log_expit(np.asarray(images, np.float64)).sum((-3, -2, -1))
    np.testing.assert_allclose(sum_log_sigmoid(images), expected, rtol=1e-5)
    undecided = sum_log_sigmoid(jnp.zeros(shape))  # the product's largest value
    np.testing.assert_allclose(undecided, -math.prod(shape) * math.log(2), rtol=1e-6)


def test_random_uint16_is_uniform_over_all_16_bits():
    drawn = np.asarray(random_uint16(RNG, (101, 999)))
    assert drawn.shape == (101, 999) and drawn.min() < 16 and drawn.max() > 2**16 - 16
    for byte in (drawn & 255, drawn >> 8):
        assert scipy.stats.chisquare(np.bincount(byte.ravel(), minlength=256)).pvalue > 1e-4
    assert abs(np.corrcoef(drawn.ravel()[:-1], drawn.ravel()[1:])[0, 1]) < 0.02
