"""Policies: closed forms against sums, integrals and draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from research.environments.environment import Box, Discrete
from research.methods.policies import Categorical, Gaussian, noise, policy

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


@pytest.mark.parametrize("space", [Discrete(3), Box(-1.0, 1.0, 2)])
def test_draws_are_distributed_as_log_prob_says(space):
    outputs = LOGITS[:1] if isinstance(space, Discrete) else jnp.concatenate([MEAN, LOG_STD], -1)
    made = policy(space, outputs)
    draws = made.draw(noise(space, RNG, (100_000,)))
    surprise = -made.log_prob(draws)
    error = 4 * float(jnp.std(surprise)) / len(draws) ** 0.5
    assert float(surprise.mean()) == pytest.approx(float(made.entropy()[0]), abs=error)
