"""A wrong bound, divergence or estimator fails the claims on variational autoencoders."""

import dataclasses

import pytest

from papers import ledger
from papers.iwae import claims as iwae
from papers.linear_vae import claims as linear_vae
from papers.tighter_bounds import claims as tighter_bounds
from papers.vae import claims as vae
from research.methods import vae as method
from research.methods.importance_bounds import sampled_elbo


def verdict(module, name, seeds=1):
    """The verdict on the claim as the module has it now."""
    claim = next(claim for claim in module.CLAIMS if claim.id.endswith(name))
    claim = dataclasses.replace(claim, seeds=seeds)
    return ledger.judge(claim, [claim.measure(seed) for seed in range(seeds)]).name


def test_a_bound_without_its_kl(monkeypatch):
    assert verdict(vae, "bound") == "REPRODUCED"
    monkeypatch.setattr(vae, "analytic_elbo", lambda terms: terms.log_likelihood_BxK.mean(axis=1))
    assert verdict(vae, "bound") == "FAILED"


def test_a_divergence_without_its_entropy(monkeypatch):
    assert verdict(vae, "kl") == "REPRODUCED"
    right = method.gaussian_kl
    monkeypatch.setattr(
        method, "gaussian_kl", lambda mean, log_std: right(mean, log_std) + log_std.sum(axis=-1)
    )
    assert verdict(vae, "kl") == "FAILED"


def test_a_mean_of_log_weights_is_no_tighter_with_more(monkeypatch):
    monkeypatch.setattr(iwae, "DRAWS", 20_000)
    monkeypatch.setattr(iwae, "PARTS", 10)
    assert verdict(iwae, "bounds", seeds=3) == "REPRODUCED"
    monkeypatch.setattr(iwae, "log_mean_exp", lambda x: x.mean(axis=-1))
    assert verdict(iwae, "bounds", seeds=3) == "FAILED"


@pytest.fixture
def small_toy(monkeypatch):
    """Few data, replicates and numbers of samples."""
    for name, value in {"REPLICATES": 100, "COUNT": 64, "LEAST": 64}.items():
        monkeypatch.setattr(tighter_bounds, name, value)
    monkeypatch.setattr(tighter_bounds, "SAMPLES", (1, 64, 256))
    yield
    tighter_bounds.signal_to_noise.cache_clear()


def test_a_bound_that_is_not_tighter_loses_no_signal(small_toy, monkeypatch):
    tighter_bounds.signal_to_noise.cache_clear()
    assert tighter_bounds.measure(0)["inference_by_K_slope"] < -0.1
    tighter_bounds.signal_to_noise.cache_clear()
    monkeypatch.setattr(tighter_bounds, "importance_weighted", sampled_elbo)
    assert verdict(tighter_bounds, "signal_to_noise") == "FAILED"


@pytest.mark.parametrize(("beta", "expected"), [(1.0, "REPRODUCED"), (1.1, "FAILED")])
def test_a_bound_with_a_heavier_kl_is_not_ppca(monkeypatch, beta, expected):
    right = linear_vae.analytic_elbo
    monkeypatch.setattr(linear_vae, "LATENT", 2)
    monkeypatch.setattr(linear_vae, "analytic_elbo", lambda terms: right(terms, beta))
    linear_vae.optimum.cache_clear()
    assert verdict(linear_vae, "likelihood") == expected
    linear_vae.optimum.cache_clear()
