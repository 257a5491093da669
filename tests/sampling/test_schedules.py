"""Schedules: end points, the moments they promise, and the three parametrisations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.sampling.ancestral import posterior
from research.sampling.denoisers import PREDICTIONS, target, to_x0
from research.sampling.schedules import cosine, karras, linear, respaced, transitions


@pytest.mark.parametrize("schedule", [linear(1000), cosine(1000), cosine(4000), linear(50)])
def test_from_clean_data_to_noise(schedule):
    assert schedule.alpha[0] == 1 and schedule.sigma[0] == 0
    assert schedule.alpha[-1] < 0.01
    assert np.all(np.diff(schedule.log_snr) < 0)
    np.testing.assert_allclose(schedule.alpha**2 + schedule.sigma**2, 1, rtol=1e-12)


def test_linear_is_the_papers():
    schedule = linear(1000)
    betas = np.linspace(1e-4, 0.02, 1000)
    np.testing.assert_allclose(transitions(schedule).variance[::-1], betas, rtol=1e-9)
    np.testing.assert_allclose(schedule.alpha[-1] ** 2, np.prod(1 - betas), rtol=1e-9)


def test_cosine_is_the_papers():
    u = np.arange(1001) / 1000
    f = np.cos((u + 0.008) / 1.008 * np.pi / 2) ** 2
    # The last beta is clipped at 0.999.
    np.testing.assert_allclose(cosine(1000).alpha[:-1] ** 2, (f / f[0])[:-1], rtol=1e-9)
    assert transitions(cosine(1000)).variance[0] == pytest.approx(0.999)


def test_karras_ends_and_spacing():
    schedule = karras(18)
    assert schedule.sigma[0] == 0
    np.testing.assert_allclose(schedule.sigma[[1, -1]], [0.002, 80])
    np.testing.assert_allclose(np.diff(schedule.sigma[1:] ** (1 / 7), 2), 0, atol=1e-12)


def test_respaced_keeps_both_ends_and_levels():
    schedule = cosine(1000)
    kept = respaced(schedule, 7)
    assert len(kept.t) == 8 and kept.t[0] == 0 and kept.t[-1] == 1000
    np.testing.assert_array_equal(kept.alpha, schedule.alpha[kept.t.astype(int)])


@pytest.mark.parametrize("schedule", [linear(40), karras(12)])
def test_transitions_compose_to_the_marginal(schedule):
    """Noising from s to t after x_s = alpha_s x_0 + sigma_s eps gives x_t's moments."""
    s = transitions(schedule)
    ratio = s.alpha_t / s.alpha_s
    np.testing.assert_allclose(ratio**2 * s.sigma_s**2 + s.variance, s.sigma_t**2, rtol=1e-9)


@pytest.mark.parametrize("schedule", [linear(40), karras(12)])
def test_posterior_is_bayes(schedule):
    """The product of q(x_t | x_s) and q(x_s | x_0), both Gaussian in x_s, completed to a square."""
    s, q = transitions(schedule), posterior(schedule)
    ratio = (s.alpha_t / s.alpha_s)[:-1]
    variance, prior = s.variance[:-1], s.sigma_s[:-1] ** 2
    precision = ratio**2 / variance + 1 / prior
    np.testing.assert_allclose(np.exp(q.log_beta_tilde[:-1]), 1 / precision, rtol=1e-6)
    np.testing.assert_allclose(q.weight_x[:-1], ratio / variance / precision, rtol=1e-6)
    np.testing.assert_allclose(q.weight_x0[:-1], s.alpha_s[:-1] / prior / precision, rtol=1e-6)
    assert q.weight_x[-1] == 0 and q.weight_x0[-1] == pytest.approx(1) and q.noisy[-1] == 0


@pytest.mark.parametrize("kind", PREDICTIONS)
def test_the_right_output_gives_back_x0(kind):
    rng_x, rng_eps = jax.random.split(jax.random.key(0))
    x0, eps = jax.random.normal(rng_x, (4, 3)), jax.random.normal(rng_eps, (4, 3))
    alpha, sigma = jnp.sqrt(0.3), jnp.sqrt(0.7)
    output = target(kind, x0, eps, alpha, sigma)
    recovered = to_x0(kind, output, alpha * x0 + sigma * eps, alpha, sigma)
    np.testing.assert_allclose(recovered, x0, atol=1e-5)
