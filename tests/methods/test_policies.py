"""Policies: closed forms against sums, integrals and draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from research.environments.environment import Box, Discrete
from research.methods.policies import Categorical, Gaussian, Pointing, noise, policy
from research.networks.painter import Strokes

RNG = jax.random.key(0, impl="rbg")
LOGITS = jnp.array([[0.5, -1.0, 2.0], [0.0, 0.0, 0.0]])
MEAN, LOG_STD = jnp.array([[0.3, -1.0]]), jnp.array([[-0.5, 0.4]])


def test_categorical_against_scipy():
    made, probabilities = Categorical(LOGITS), np.asarray(jax.nn.softmax(LOGITS))
    np.testing.assert_allclose(
        made.log_prob(jnp.array([2, 1])), np.log(probabilities[[0, 1], [2, 1]]), rtol=1e-5
    )
    np.testing.assert_allclose(
        made.entropy(), scipy.stats.entropy(probabilities, axis=1), rtol=1e-5
    )
    other = Categorical(LOGITS[::-1])
    expected = scipy.stats.entropy(probabilities, probabilities[::-1], axis=1)
    np.testing.assert_allclose(made.divergence(other), expected, rtol=1e-5)


def test_gaussian_against_scipy():
    made, std = Gaussian(MEAN, LOG_STD), np.exp(LOG_STD)
    actions = jnp.array([[0.1, 0.2]])
    expected = scipy.stats.norm.logpdf(actions, MEAN, std).sum(-1)
    np.testing.assert_allclose(made.log_prob(actions), expected, rtol=1e-5)
    np.testing.assert_allclose(
        made.entropy(), scipy.stats.norm.entropy(MEAN, std).sum(-1), rtol=1e-5
    )


def test_gaussian_divergence_is_the_mean_of_the_log_ratio():
    made, other = Gaussian(MEAN, LOG_STD), Gaussian(MEAN + 0.5, LOG_STD + 0.2)
    draws = made.draw(jax.random.normal(RNG, (200_000, 2)))
    ratio = made.log_prob(draws) - other.log_prob(draws)
    error = 4 * float(jnp.std(ratio)) / len(draws) ** 0.5
    assert float(made.divergence(other)[0]) == pytest.approx(float(ratio.mean()), abs=error)
    assert float(made.divergence(made)[0]) == 0


def strokes(seed=0):
    """Over 2 x 3 pixels and two numbers more."""
    keys = jax.random.split(jax.random.key(seed), 3)
    shapes = (1, 2, 3), (1, 2, 3, 2), (1, 2, 3, 2)
    return Strokes(*(jax.random.normal(k, s) for k, s in zip(keys, shapes, strict=True)))


def test_pointing_against_scipy():
    """The pixel at the right end of the lower row, and what is done there."""
    logits, means, log_stds = strokes()
    heat = scipy.special.log_softmax(np.asarray(logits))[0, 1, 2]
    brush = scipy.stats.norm.logpdf([0.1, 0.2], means[0, 1, 2], np.exp(log_stds[0, 1, 2])).sum()
    found = Pointing(*strokes()).log_prob(jnp.array([[1.0, 1.0, 0.1, 0.2]]))
    np.testing.assert_allclose(found, heat + brush, rtol=1e-5)


def test_pointings_divergence_is_the_mean_of_the_log_ratio():
    made, other = Pointing(*strokes(0)), Pointing(*strokes(1))
    draws = made.draw(jax.random.normal(RNG, (200_000, 4)))
    ratio = made.log_prob(draws) - other.log_prob(draws)
    error = 4 * float(jnp.std(ratio)) / len(draws) ** 0.5
    assert float(made.divergence(other)[0]) == pytest.approx(float(ratio.mean()), abs=error)
    assert float(made.divergence(made)[0]) == 0


def test_places_are_pointed_at_as_often_as_the_heat_map_says():
    made = Pointing(*strokes())
    draws = made.draw(jax.random.normal(RNG, (100_000, 4)))
    at = (draws[:, None, :2] == jnp.array([[x, y] for y in (-1, 1) for x in (-1, 0, 1)])).all(-1)
    expected = jax.nn.softmax(made.logits.reshape(6))
    np.testing.assert_allclose(at.mean(0), expected, atol=4 * 0.5 / len(draws) ** 0.5)


@pytest.mark.parametrize(
    ("space", "outputs"),
    [
        (Discrete(3), LOGITS[:1]),
        (Box(-1.0, 1.0, 2), jnp.concatenate([MEAN, LOG_STD], -1)),
        (Box(-1.0, 1.0, 4), strokes()),
    ],
)
def test_draws_are_distributed_as_log_prob_says(space, outputs):
    made = policy(space, outputs)
    draws = made.draw(noise(space, RNG, (100_000,)))
    surprise = -made.log_prob(draws)
    error = 4 * float(jnp.std(surprise)) / len(draws) ** 0.5
    assert float(surprise.mean()) == pytest.approx(float(made.entropy()[0]), abs=error)
