"""A wrong bound, divergence or estimator fails the claims on variational autoencoders."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from papers.iwae import claims as iwae
from papers.linear_vae import claims as linear_vae
from papers.tighter_bounds import claims as tighter_bounds
from papers.vae import claims as vae
from research.methods import vae as method
from research.methods.importance_bounds import importance_weighted, sampled_elbo
from tests.papers.verdicts import verdict


def test_a_bound_without_its_kl(monkeypatch):
    assert verdict("vae.bound") == "REPRODUCED"
    monkeypatch.setattr(vae, "analytic_elbo", lambda terms: terms.log_likelihood_BxK.mean(axis=1))
    assert verdict("vae.bound") == "FAILED"


def test_a_divergence_without_its_entropy(monkeypatch):
    assert verdict("vae.kl") == "REPRODUCED"
    right = method.gaussian_kl
    monkeypatch.setattr(
        method, "gaussian_kl", lambda mean, log_std: right(mean, log_std) + log_std.sum(axis=-1)
    )
    assert verdict("vae.kl") == "FAILED"


def test_a_mean_of_log_weights_is_no_tighter_with_more(monkeypatch):
    monkeypatch.setattr(iwae, "DRAWS", 20_000)
    monkeypatch.setattr(iwae, "PARTS", 10)
    assert verdict("iwae.bounds", seeds=3) == "REPRODUCED"
    monkeypatch.setattr(iwae, "log_mean_exp", lambda x: x.mean(axis=-1))
    assert verdict("iwae.bounds", seeds=3) == "FAILED"


@pytest.fixture
def small_toy(monkeypatch):
    """Few dimensions, data and samples, further off the optimum: a stronger signal, more pairs."""
    small = {"DIMS": 4, "COUNT": 64, "OFFSET": 0.05, "SAMPLES": (1, 32, 128), "REPLICATES": 2000}
    for name, value in small.items():
        monkeypatch.setattr(tighter_bounds, name, value)
    tighter_bounds.signal_to_noise.cache_clear()
    yield
    tighter_bounds.signal_to_noise.cache_clear()


def test_a_tighter_bound_loses_the_inference_networks_signal(small_toy):
    assert verdict("tighter_bounds.signal_to_noise") == "REPRODUCED"


@pytest.mark.parametrize(
    "wrong",
    [sampled_elbo, lambda terms, beta: importance_weighted(terms, 0.0)],
    ids=["a mean of log weights", "weights without q and the prior"],
)
def test_another_bound_keeps_it(small_toy, monkeypatch, wrong):
    """Only K tells bounds apart: the slopes by M stay, so that noise is not what fails."""
    monkeypatch.setattr(tighter_bounds, "importance_weighted", wrong)
    assert verdict("tighter_bounds.signal_to_noise") == "FAILED"
    slopes = tighter_bounds.measure(0)
    assert slopes["inference_by_K_slope"] > 0.4
    assert slopes["inference_by_M_slope"] == pytest.approx(0.5, abs=0.1)


def test_the_ratio_is_that_of_the_mean_and_the_single_gradients_deviation():
    """Of g = m + s (eps + u eps^2), whose pairs' mean keeps the even part's noise alone."""
    eps = np.random.default_rng(0).normal(size=(200_000, 1, 3))
    mean, s, u = np.array([1.0, 2.0, 2.0]), 4.0, 0.5
    g_Rx2xD = mean + s * (np.concatenate([eps, -eps], axis=1) + u * (eps**2 - 1))
    deviation = s * np.sqrt(3 * (1 + 2 * u**2))
    assert tighter_bounds.ratio_of(g_Rx2xD) == pytest.approx(3 / deviation, rel=0.02)


def test_a_mean_lost_in_its_noise_has_no_ratio():
    """E ||mean||^2 of 50 pairs of pure noise is tr Var / 50, not 0: it is taken off."""
    g = np.random.default_rng(0).normal(size=(400, 50, 2, 3))
    ratios = np.array([tighter_bounds.ratio_of(one) for one in g])
    # The square is unbiased before its floor of 0: about half of them are below.
    assert 0.3 < np.mean(ratios == 0) < 0.7
    assert np.mean(ratios**2) < 1 / 100


def test_the_toys_bound_is_its_likelihood_with_many_samples():
    """x ~ N(mu, 2 I); with q the posterior's mean and a wider variance."""
    rng = np.random.default_rng(0)
    x, mu = rng.normal(size=(5, tighter_bounds.DIMS)), rng.normal(size=tighter_bounds.DIMS)
    eps = rng.normal(size=(5, 4096, tighter_bounds.DIMS))
    a = np.eye(tighter_bounds.DIMS) / 2
    terms = tighter_bounds.terms(*map(jnp.float32, (mu, mu / 2, a, x, eps)))
    exact = scipy.stats.norm(mu, np.sqrt(2)).logpdf(x).sum(axis=1)
    # Var w = 0.91 of weights of mean 1: a deviation of 0.015, and less from below.
    np.testing.assert_allclose(importance_weighted(terms), exact, atol=0.06)
    assert (terms.log_likelihood_BxK.mean(axis=1) - terms.kl_B < exact - 0.1).all()


def test_columns_that_all_lie_along_one_direction_are_not_the_principal_ones():
    first = linear_vae.moments()[2][:, : linear_vae.LATENT].T
    assert linear_vae.largest_sine(first[::-1]) < 1e-6
    assert linear_vae.largest_sine(np.tile(first[:1], (len(first), 1))) > 0.9


@pytest.fixture
def two_latents(monkeypatch):
    """An optimum of fewer latents, neither kept from before nor for later."""
    monkeypatch.setattr(linear_vae, "LATENT", 2)
    linear_vae.optimum.cache_clear()
    yield
    linear_vae.optimum.cache_clear()


@pytest.mark.parametrize(("beta", "expected"), [(1.0, "REPRODUCED"), (1.1, "FAILED")])
def test_a_bound_with_a_heavier_kl_is_not_ppca(monkeypatch, two_latents, beta, expected):
    right = linear_vae.analytic_elbo
    monkeypatch.setattr(linear_vae, "analytic_elbo", lambda terms: right(terms, beta))
    assert verdict("linear_vae.likelihood") == expected
