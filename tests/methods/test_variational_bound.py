"""The bound: closed forms, the entropy of Gaussian data, and what the schedule can't change."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.methods.variational_bound import (
    bits_per_dim,
    bound_term,
    continuous_diffusion_loss,
    discretised_log_likelihood,
    gaussian_kl,
    noised,
)
from research.sampling import analytic
from research.sampling.schedules import cosine, linear

RNG = jax.random.key(0)


def test_noised_has_the_moments_of_q():
    schedule, t = linear(100), 60
    eps = jax.random.normal(RNG, (50_000, 1))
    x = noised(schedule, jnp.full((50_000, 1), 0.7), jnp.full(50_000, t), eps)
    assert float(x.mean()) == pytest.approx(0.7 * schedule.alpha[t], abs=0.01)
    assert float(x.std()) == pytest.approx(schedule.sigma[t], abs=0.01)


def test_kl_closed_form():
    """Against the integral of q log(q / p) on a fine grid."""
    x = jnp.linspace(-12, 12, 20_001)

    def log_density(mean, log_var):
        return -0.5 * ((x - mean) ** 2 * jnp.exp(-log_var) + log_var + math.log(2 * math.pi))

    for mean, log_var, other_mean, other_log_var in [(0.3, 0.2, -0.5, 0.9), (1.0, -1.0, 1.0, 0.5)]:
        q, p = log_density(mean, log_var), log_density(other_mean, other_log_var)
        integral = jnp.sum(jnp.exp(q) * (q - p)) * (x[1] - x[0])
        kl = gaussian_kl(jnp.array(mean), log_var, jnp.array(other_mean), other_log_var)
        assert float(kl) == pytest.approx(float(integral), abs=1e-4)


@pytest.mark.parametrize("levels", [2, 17, 256])
@pytest.mark.parametrize("log_var", [-9.0, -3.0, 2.0])
def test_decoder_is_a_distribution_over_the_levels(levels, log_var):
    bins = jnp.linspace(-1, 1, levels)
    log_p = discretised_log_likelihood(bins, jnp.array(0.13), jnp.array(log_var), levels)
    assert float(jnp.sum(jnp.exp(log_p))) == pytest.approx(1, abs=2e-4)


def test_decoder_is_finite_far_away():
    log_p = discretised_log_likelihood(
        jnp.array(1.0 - 2 / 255), jnp.array(-1.0), jnp.array(-9.0), 256
    )
    assert float(log_p) == pytest.approx(-0.5 * (2 - 3 / 255) ** 2 * math.exp(9), rel=1e-2)


def gaussian_data(std, levels, shape):
    """Draws of N(0, std^2) rounded to the levels, the denoiser and the entropy in bits."""
    step = 2 / (levels - 1)
    x0 = jnp.round(std * jax.random.normal(jax.random.key(1), shape) / step) * step
    entropy = 0.5 * math.log2(2 * math.pi * math.e * std**2) - math.log2(step)
    covariance = (std**2 + step**2 / 12) * jnp.eye(shape[1])
    return x0 + (levels % 2 == 0) * step / 2, covariance, entropy


@pytest.mark.parametrize("schedule", [linear(1000), cosine(1000)])
def test_bound_of_the_optimal_denoiser_is_the_entropy(schedule):
    """With variance beta, the best one for data much wider than a step."""
    x0, covariance, entropy = gaussian_data(0.3, 255, (256, 16))
    denoise = analytic.gaussian(jnp.zeros(16), covariance, analytic.at_index(schedule))
    bound = jax.jit(
        lambda x0: bits_per_dim(denoise, schedule, x0, RNG, levels=255, variance="beta", terms=999)
    )(x0)
    assert float(bound["bits_per_dim"].mean()) == pytest.approx(entropy, abs=0.1)
    parts = bound["prior"] + bound["decoder"] + bound["diffusion"]
    np.testing.assert_allclose(parts, bound["bits_per_dim"], rtol=1e-5)


@pytest.mark.parametrize("terms", [3, 9])
def test_terms_in_strata_estimate_their_sum(terms):
    schedule = cosine(10)
    x0, covariance, _ = gaussian_data(0.3, 255, (4000, 4))
    denoise = analytic.gaussian(jnp.zeros(4), covariance, analytic.at_index(schedule))
    options = {"levels": 255, "variance": "beta_tilde"}

    @jax.jit
    def term(t, rng):
        x = noised(schedule, x0, t, jax.random.normal(rng, x0.shape))
        return bound_term(schedule, denoise(x, t), x0, x, t, **options)

    rngs = jax.random.split(jax.random.key(2), 11)
    exact = sum(float(term(jnp.full(4000, t), rngs[t]).mean()) for t in range(2, 11))
    bound = jax.jit(lambda x0: bits_per_dim(denoise, schedule, x0, RNG, terms=terms, **options))
    estimate = bound(x0)["diffusion"]
    error = float(estimate.std()) / math.sqrt(4000)
    assert float(estimate.mean()) == pytest.approx(exact, abs=5 * error)
    assert 5 * error < 0.1 * exact


# Three paths between the same ends of log-SNR.
PATHS = {
    "straight": lambda t: 8 - 14 * t,
    "bent": lambda t: 8 - 14 * t**3,
    "wavy": lambda t: 8 - 14 * (t - jnp.sin(2 * jnp.pi * t) / 8),
}


@pytest.mark.parametrize("path", PATHS)
def test_continuous_bound_depends_on_the_ends_alone(path):
    """2107.00630 eq. 17-18: for N(0, v) its diffusion loss is 1/2 log2 of (1 + v SNR) ratios."""
    variance, x0 = 0.09, 0.3 * jax.random.normal(jax.random.key(1), (2000, 4))
    denoise = analytic.gaussian(jnp.zeros(4), variance * jnp.eye(4), analytic.at_log_snr)
    loss = jax.jit(
        lambda x0: continuous_diffusion_loss(denoise, x0, RNG, log_snr=PATHS[path], terms=64)
    )(x0)
    low, high = (1 + variance * math.exp(PATHS[path](jnp.array(t))) for t in (1.0, 0.0))
    assert float(loss.mean()) == pytest.approx(0.5 * math.log2(high / low), rel=0.02)
