"""Adversarial losses: closed forms, gradients against finite differences, and packs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.errors import InputError
from research.methods.gan_losses import (
    LOSSES,
    gradient_penalty,
    gradients,
    hinge,
    non_saturating,
    packed,
    r1,
    saturating,
    wasserstein,
)

LOGITS = jnp.array([-3.0, -0.5, 0.0, 0.5, 3.0])


def test_losses_are_those_of_the_probability():
    """1406.2661, eq. 1, with D the logistic of the logit."""
    d = jax.nn.sigmoid(LOGITS)
    players = saturating()
    np.testing.assert_allclose(players.real(LOGITS), -jnp.log(d), rtol=1e-5)
    np.testing.assert_allclose(players.fake(LOGITS), -jnp.log(1 - d), rtol=1e-5)
    np.testing.assert_allclose(players.generator(LOGITS), jnp.log(1 - d), rtol=1e-5)
    np.testing.assert_allclose(non_saturating().generator(LOGITS), -jnp.log(d), rtol=1e-5)


def test_only_the_non_saturating_loss_teaches_against_a_sure_discriminator():
    slopes = {name: jax.grad(LOSSES[name]().generator)(-20.0) for name in LOSSES}
    assert abs(slopes["saturating"]) < 1e-8
    assert all(slopes[name] == pytest.approx(-1) for name in LOSSES.keys() - {"saturating"})


def test_wasserstein_is_a_game_of_sum_zero_but_for_the_reals():
    players = wasserstein()
    np.testing.assert_array_equal(players.fake(LOGITS), -players.generator(LOGITS))
    np.testing.assert_array_equal(players.real(LOGITS), -LOGITS)


def test_hinge_stops_at_the_margin():
    players = hinge()
    np.testing.assert_allclose(players.real(LOGITS), [4, 1.5, 1, 0.5, 0])
    np.testing.assert_allclose(players.fake(LOGITS), [0, 0.5, 1, 1.5, 4])
    np.testing.assert_allclose(players.generator(LOGITS), -LOGITS)


def quadratic(examples):
    return jnp.sum(examples**2, axis=(1, 2)) + jnp.sum(examples[:, 0], axis=1)


EXAMPLES = jax.random.normal(jax.random.key(0), (6, 3, 2))


def test_gradients_are_each_examples_own():
    expected = 2 * EXAMPLES + jnp.array([1.0, 0, 0])[:, None]
    np.testing.assert_allclose(gradients(quadratic, EXAMPLES), expected, rtol=1e-6)


def test_r1_is_half_the_mean_squared_gradient():
    norms = jnp.sum((2 * EXAMPLES + jnp.array([1.0, 0, 0])[:, None]) ** 2, axis=(1, 2))
    np.testing.assert_allclose(r1(quadratic, EXAMPLES), jnp.mean(norms) / 2, rtol=1e-6)


@pytest.mark.parametrize("slope", [0.0, 1.0, 3.0])
def test_gradient_penalty_of_a_linear_critic(slope):
    """(|w| - 1)^2, whatever the points; and its gradient is finite where w is 0."""
    rng = jax.random.key(1)

    def penalty(w):
        return gradient_penalty(lambda x: w * x[:, 0], EXAMPLES[:, 0], EXAMPLES[:, 1], rng)

    assert penalty(slope) == pytest.approx((slope - 1) ** 2)
    assert jax.grad(penalty)(slope) == pytest.approx(2 * (slope - 1) if slope else 0)


def test_gradient_penalty_lies_between_real_and_fake():
    """Of D = x^2 / 2 the penalty at x is (|x| - 1)^2: 0 where both ends are 1, as at no other."""
    rng, ones = jax.random.key(1), jnp.ones((100, 1))
    score = lambda x: jnp.sum(x**2, axis=1) / 2  # noqa: E731
    assert gradient_penalty(score, ones, ones, rng) == pytest.approx(0)
    # Each pair draws its own share u, one for all coordinates: E (sqrt(2) u - 1)^2 in the plane.
    plane = jnp.ones((20_000, 2))
    expected = 2 / 3 - np.sqrt(2) + 1
    assert gradient_penalty(score, plane, 0 * plane, rng) == pytest.approx(expected, abs=0.01)


def test_regularizers_differentiate_as_finite_differences():
    """The gradient by a critic's parameters, through the gradient by its input."""
    rng = jax.random.key(2)
    w = jax.random.normal(rng, (2, 5))
    with jax.enable_x64(True):
        x, w = (jnp.asarray(np.asarray(a), jnp.float64) for a in (EXAMPLES[:, 0], w))
        for regularizer in (
            lambda w: r1(lambda x: jnp.sum(jnp.tanh(x @ w), axis=1), x),
            lambda w: gradient_penalty(lambda x: jnp.sum(jnp.tanh(x @ w), axis=1), x, x[::-1], rng),
        ):
            at = jax.jit(regularizer)
            found = jax.jit(jax.grad(regularizer))(w)
            for i, j in np.ndindex(w.shape):
                h = jnp.zeros_like(w).at[i, j].set(1e-5)
                numeric = float(at(w + h) - at(w - h)) / 2e-5
                assert float(found[i, j]) == pytest.approx(numeric, rel=1e-5)


def test_packs_hold_neighbours_side_by_side():
    points = jnp.arange(12.0).reshape(6, 2)
    np.testing.assert_array_equal(packed(points, 3), jnp.arange(12.0).reshape(2, 6))
    images = jax.random.normal(jax.random.key(0), (6, 4, 4, 3))
    packs = packed(images, 2)
    assert packs.shape == (3, 4, 4, 6)
    np.testing.assert_array_equal(packs[1, ..., :3], images[2])
    np.testing.assert_array_equal(packs[1, ..., 3:], images[3])
    np.testing.assert_array_equal(packed(images, 1), images)


@pytest.mark.parametrize("count", [1, 5])
def test_a_batch_that_makes_no_whole_packs(count):
    with pytest.raises(InputError, match=f"batch of {count} doesn't make packs of 3"):
        packed(jnp.zeros((count, 2)), 3)
