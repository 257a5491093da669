"""VAE: one estimator family, exact on a linear-Gaussian model; supports, sampling, learning."""

import functools

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

from research.errors import InputError
from research.methods.importance_bounds import BOUNDS, log_weights
from research.methods.likelihoods import Bernoulli, Gaussian
from research.methods.vae import VAE
from research.networks.mlp import MLPDecoder, MLPEncoder
from research.training.state import TrainState

RNG = jax.random.key(0, impl="rbg")  # compiles in half the time
SHAPE, LATENT, STD = (2, 3, 1), 2, 0.7
# What runs a few times is compiled with little care.
quick = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
BATCH = {"image": np.tile(np.arange(16, dtype=np.uint8).reshape(1, 4, 4, 1), (8, 1, 1, 1))}


def method(*, image_shape=(4, 4, 1), hidden=(16,), latent=LATENT, **arguments):
    networks = {
        "encoder": MLPEncoder(latent, hidden),
        "decoder": MLPDecoder(image_shape, hidden),
    }
    arguments = {"levels": 17, "evaluation_samples": 10} | arguments
    if arguments.get("likelihood") != "gaussian" and arguments["levels"] != 2:
        arguments = {"binarize": "dynamic"} | arguments
    return VAE(networks=networks, optimizer=optax.adam(1e-2), image_shape=image_shape, **arguments)


def linear_gaussian(**arguments):
    """A VAE whose log p(x) is known, with q near the posterior: itself, parameters, data, log p."""
    arguments = {"likelihood": "gaussian", "std": STD} | arguments
    made = method(image_shape=SHAPE, hidden=(), **arguments)
    rng = np.random.default_rng(0)
    weight_LxD, x = rng.normal(size=(LATENT, 6)), rng.normal(size=(5, 6))
    to_mean_LxD = np.linalg.solve(precision(weight_LxD), weight_LxD / STD**2)
    params = {
        "encoder": {
            "mean": {"kernel": to_mean_LxD.T + 0.05, "bias": np.full(LATENT, 0.1)},
            "log_std": {"kernel": np.zeros((6, LATENT)), "bias": np.log([0.7, 0.4])},
        },
        "decoder": {"mlp": {"out": {"kernel": weight_LxD, "bias": np.zeros(6)}}},
        "likelihood": {} if made.likelihood.std else {"log_std": np.log(STD)},
    }
    covariance = weight_LxD.T @ weight_LxD + STD**2 * np.eye(6)
    log_p = scipy.stats.multivariate_normal(np.zeros(6), covariance).logpdf(x)
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), params)
    return made, params, jnp.asarray(x.reshape(5, *SHAPE), jnp.float32), log_p


def precision(weight_LxD):
    """The posterior's, of latents of prior N(0, I)."""
    return np.eye(LATENT) + weight_LxD @ weight_LxD.T / STD**2


def sigma_points(batch, latent=LATENT):
    """Points whose mean of any quadratic is its expectation over N(0, I)."""
    points = np.sqrt(latent) * np.concatenate([np.eye(latent), -np.eye(latent)])
    return jnp.broadcast_to(jnp.asarray(points, jnp.float32), (batch, 2 * latent, latent))


def test_the_elbo_is_log_p_less_the_kl_to_the_posterior():
    made, params, x, log_p = linear_gaussian()
    terms = made.terms(params, x, sigma_points(5))
    weight_LxD = np.asarray(params["decoder"]["mlp"]["out"]["kernel"], np.float64)
    exact, flat = precision(weight_LxD), np.asarray(x).reshape(5, -1)
    mean, log_std = made.encoder.apply({"params": params["encoder"]}, x)
    variance = np.exp(2 * np.asarray(log_std, np.float64))
    gap = np.asarray(mean) - np.linalg.solve(exact, weight_LxD @ flat.T / STD**2).T
    kl = 0.5 * (
        variance @ np.diag(exact)
        + np.einsum("bi,ij,bj->b", gap, exact, gap)
        - LATENT
        - np.linalg.slogdet(exact)[1]
        - np.log(variance).sum(1)
    )
    assert kl.min() > 0.05
    np.testing.assert_allclose(BOUNDS["analytic"](terms, 1.0), log_p - kl, rtol=1e-4)
    np.testing.assert_allclose(BOUNDS["sampled"](terms, 1.0), log_p - kl, rtol=1e-4)


def test_the_closed_kl_is_the_samples_mean():
    made, params, x, _ = linear_gaussian()
    terms = made.terms(params, x, sigma_points(5))
    np.testing.assert_allclose(terms.kl_B, terms.log_ratio_BxK.mean(1), rtol=1e-5)
    assert float(terms.kl_B.min()) > 0.1


def test_more_samples_make_a_tighter_bound_below_log_p():
    made, params, x, log_p = linear_gaussian()
    eps = jax.random.normal(RNG, (5, 2**16, LATENT))
    terms = made.terms(params, x, eps)
    w = log_weights(terms).reshape(5, -1, 64)
    bounds = [float((jax.nn.logsumexp(w[..., :k], -1) - np.log(k)).mean()) for k in (1, 2, 8, 64)]
    elbo = made.terms(params, x, sigma_points(5))
    assert bounds[0] == pytest.approx(float(BOUNDS["analytic"](elbo, 1.0).mean()), abs=0.03)
    assert bounds == sorted(bounds) and min(np.diff(bounds)) > 0.01
    assert bounds[-1] < log_p.mean()


def test_iwae_of_one_sample_is_the_elbo_and_of_more_it_is_not():
    made, params, x, _ = linear_gaussian()
    eps = jax.random.normal(RNG, (5, 4, LATENT))
    one, four = (made.terms(params, x, eps[:, :k]) for k in (1, 4))
    for beta in (1.0, 4.0):
        sampled, importance = (BOUNDS[name](one, beta) for name in ("sampled", "importance"))
        np.testing.assert_array_equal(sampled, importance)
    assert bool((BOUNDS["importance"](four, 1.0) > BOUNDS["sampled"](four, 1.0)).all())


def test_iwaes_bound_of_copies_is_that_of_one_and_of_two_their_means_log():
    made, params, x, _ = linear_gaussian()
    eps = jax.random.normal(RNG, (5, 2, LATENT))
    one, copies, two = (
        made.terms(params, x, noise) for noise in (eps[:, :1], eps[:, [0, 0, 0]], eps)
    )
    found = BOUNDS["importance"](copies, 1.0)
    np.testing.assert_allclose(found, BOUNDS["importance"](one, 1.0), rtol=1e-5)
    w = np.exp(np.asarray(log_weights(two), np.float64))
    np.testing.assert_allclose(BOUNDS["importance"](two, 1.0), np.log(w.mean(1)), rtol=1e-5)


def test_beta_weighs_the_kl():
    made, params, x, _ = linear_gaussian()
    terms = made.terms(params, x, sigma_points(5))
    for bound in (BOUNDS["analytic"], BOUNDS["sampled"]):
        slope = (bound(terms, 3.0) - bound(terms, 1.0)) / 2
        np.testing.assert_allclose(slope, -terms.kl_B, rtol=1e-4)


@pytest.mark.parametrize("samples", [5000, 4999])
def test_importance_sampling_finds_log_p(samples):
    made, params, x, log_p = linear_gaussian(evaluation_samples=samples)
    made.likelihood.observed = lambda image, rng: image
    state = TrainState(0, {"model": params}, {}, made.init_extra(RNG))
    found = jax.jit(made.evaluate)(state, {"image": x}, RNG)
    np.testing.assert_allclose(-found["nll"], log_p, atol=0.03)
    assert bool((found["bound"] > found["nll"] + 0.05).any())


@pytest.mark.parametrize("name", BOUNDS)
def test_the_gradient_is_the_bounds_own(name):
    """Central differences at fixed noise, along a direction of all parameters."""
    made, params, x, _ = linear_gaussian(bound=name, beta=2.0, std=None)
    eps = np.random.default_rng(1).normal(size=(5, 3, LATENT))
    with jax.enable_x64(True):
        flat, unflatten = jax.flatten_util.ravel_pytree(
            jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), params)
        )
        x, eps = jnp.asarray(x, jnp.float64), jnp.asarray(eps)
        bound = jax.jit(lambda flat: made.bound(made.terms(unflatten(flat), x, eps), 2.0).mean())
        gradient = jax.grad(bound)(flat)
        assert bool((gradient != 0).all())
        direction = jnp.asarray(np.random.default_rng(2).normal(size=flat.shape))
        ahead, behind = (bound(flat + step * direction) for step in (1e-5, -1e-5))
        slope = float(ahead - behind) / 2e-5
        assert float(gradient @ direction) == pytest.approx(slope, rel=1e-6)


def test_bernoulli_is_scipys():
    logits = jax.random.normal(RNG, (3, *SHAPE)) * 3
    bits = jax.random.bernoulli(jax.random.key(1, impl="rbg"), 0.4, (3, *SHAPE))
    found = Bernoulli(levels=2).log_prob({}, jnp.where(bits, 1.0, -1.0), logits)
    p = scipy.special.expit(np.asarray(logits, np.float64))
    np.testing.assert_allclose(
        found, scipy.stats.bernoulli(p).logpmf(np.asarray(bits)).sum((1, 2, 3)), rtol=1e-5
    )
    np.testing.assert_allclose(Bernoulli(levels=2).mean(logits), 2 * p - 1, atol=1e-6)


@pytest.mark.parametrize("std", [0.3, None])
def test_gaussian_is_scipys(std):
    x, mean = jax.random.normal(RNG, (2, 3, *SHAPE))
    likelihood = Gaussian(levels=256, std=std)
    params = {} if std else {"log_std": jnp.log(0.9)}
    assert params.keys() == likelihood.init_params().keys()
    expected = scipy.stats.norm(np.asarray(mean), std or 0.9).logpdf(np.asarray(x))
    np.testing.assert_allclose(
        likelihood.log_prob(params, x, mean), expected.sum((1, 2, 3)), rtol=1e-5
    )


def test_dynamic_binarization_draws_each_pixel_anew():
    likelihood = Bernoulli(levels=17, binarize="dynamic")
    image = np.tile(np.array([0, 4, 16], np.uint8).reshape(1, 3, 1, 1), (4000, 1, 1, 1))
    x = likelihood.observed(image, RNG)
    assert set(np.unique(x)) == {-1, 1}
    np.testing.assert_allclose(x.mean(0).ravel(), [-1, -0.5, 1], atol=0.05)
    again = likelihood.observed(image, jax.random.key(1, impl="rbg"))
    assert bool((x != again).any())


def test_binary_data_is_taken_as_it_is():
    x = Bernoulli(levels=2).observed(np.array([0, 1], np.uint8).reshape(1, 2, 1, 1), RNG)
    np.testing.assert_array_equal(x.ravel(), [-1, 1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"binarize": "none"}, "these have 17 levels; set method.binarize"),
        ({"binarize": "dynamik"}, "nearest: dynamic"),
        ({"likelihood": "gausian"}, "nearest: gaussian"),
        ({"likelihood": "gaussian", "binarize": "dynamic"}, "takes no binarize"),
        ({"likelihood": "gaussian", "std": 0.0}, "above 0"),
        ({"std": 0.5}, "std is an option of likelihood 'gaussian'"),
        ({"bound": "importence"}, "nearest: importance"),
        ({"k": 0}, "k is 0; 1 is the least"),
        ({"evaluation_samples": 0}, "evaluation_samples is 0; 1 is the least"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        method(**arguments)


@pytest.mark.parametrize(
    "arguments",
    [{}, {"bound": "importance", "k": 5}, {"likelihood": "gaussian", "bound": "sampled"}],
)
def test_learns_one_image(arguments):
    made = method(**arguments)

    @quick
    def learned():
        def step(state, rng):
            state, metrics = made.step(state, BATCH, rng)
            return state, metrics["model/loss"]

        state, losses = jax.lax.scan(step, made.init(RNG, BATCH), jax.random.split(RNG, 200))
        return losses, made.evaluate(state, BATCH, RNG)

    losses, found = learned()
    assert losses[-10:].mean() < losses[:5].mean() - 3
    assert {value.shape for value in found.values()} == {(8,)}
    assert all(bool(jnp.isfinite(value).all()) for value in found.values())


def test_a_step_is_compiled_once():
    made = method(bound="importance", k=2)
    step, state = quick(made.step), quick(made.init)(RNG, BATCH)
    for i in range(3):
        state, _ = step(state, BATCH, jax.random.fold_in(RNG, i))
    assert step._cache_size() == 1


@pytest.mark.parametrize("arguments", [{}, {"likelihood": "gaussian"}])
def test_samples_and_latents(arguments):
    made = method(**arguments)
    state = quick(made.init)(RNG, BATCH)
    drawn = made.sample(state, RNG, count=6)["images"]
    assert drawn.shape == (6, 4, 4, 1) and float(jnp.abs(drawn).max()) <= 1
    assert float(drawn.std(0).max()) > 0
    z = made.encode(state, drawn)
    assert z.shape == (6, LATENT)
    assert made.decode(state, z).shape == drawn.shape
