"""Generalized advantages: a plain loop, the two limits of lambda, the two ends of an episode."""

import jax.numpy as jnp
import numpy as np
import pytest

from research.methods.advantages import generalized_advantages

T, B, DISCOUNT = 7, 3, 0.9
RNG = np.random.default_rng(0)
REWARDS, VALUES, NEXT = RNG.normal(size=(3, T, B)).astype(np.float32)
TERMINATED, TRUNCATED = RNG.random((2, T, B)) < 0.25


def advantages(decay, terminated=TERMINATED, truncated=TRUNCATED, next_values=NEXT):
    ends = {"terminated": jnp.asarray(terminated), "truncated": jnp.asarray(truncated)}
    arrays = (jnp.asarray(a) for a in (REWARDS, VALUES, next_values))
    return np.asarray(generalized_advantages(*arrays, **ends, discount=DISCOUNT, decay=decay))


def test_a_plain_loop():
    """The sum of the later differences to the episode's end, each (discount decay)^l down."""
    deltas = REWARDS + DISCOUNT * np.where(TERMINATED, 0, NEXT) - VALUES
    expected = np.zeros((T, B))
    for t in range(T):
        for b in range(B):
            for later in range(t, T):
                expected[t, b] += (DISCOUNT * 0.8) ** (later - t) * deltas[later, b]
                if TERMINATED[later, b] or TRUNCATED[later, b]:
                    break
    np.testing.assert_allclose(advantages(0.8), expected, rtol=1e-4, atol=1e-5)


def test_lambda_0_is_the_temporal_difference():
    expected = REWARDS + DISCOUNT * np.where(TERMINATED, 0, NEXT) - VALUES
    np.testing.assert_allclose(advantages(0.0), expected, rtol=1e-5, atol=1e-6)


def test_lambda_1_is_monte_carlo():
    """Of consistent next values: the discounted rewards and the last value, less the first."""
    never = np.zeros((T, B), bool)
    last = RNG.normal(size=(1, B)).astype(np.float32)
    found = advantages(1.0, never, never, np.concatenate([VALUES[1:], last]))
    powers = DISCOUNT ** np.arange(T)
    expected = (powers[:, None] * REWARDS).sum(0) + DISCOUNT**T * last[0] - VALUES[0]
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("end", "bootstraps"), [("terminated", False), ("truncated", True)])
def test_truncation_bootstraps_and_termination_does_not(end, bootstraps):
    never, at = np.zeros((T, B), bool), np.zeros((T, B), bool)
    at[3] = True
    ends = {"terminated": never, "truncated": never} | {end: at}
    raised = NEXT.copy()
    raised[3] += 1
    change = advantages(0.8, **ends, next_values=raised) - advantages(0.8, **ends)
    np.testing.assert_allclose(change[3], DISCOUNT if bootstraps else 0, atol=1e-5)
    later = NEXT.copy()
    later[4:] += 1
    untouched = advantages(0.8, **ends, next_values=later) - advantages(0.8, **ends)
    np.testing.assert_array_equal(untouched[:4], 0)
