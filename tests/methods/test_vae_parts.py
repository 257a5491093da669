"""What a VAE minimises, logs, evaluates and draws, by which parameters, beside which baseline."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from research.data.examples import InMemory
from research.data.image_sets import ImageSet
from research.methods.importance_bounds import BOUNDS, log_likelihood
from research.training.optimizers import EmaState
from research.training.rng import named
from research.training.state import TrainState
from tests.methods.test_vae import RNG, linear_gaussian, method

GRID = np.random.default_rng(3).integers(0, 17, (5, 2, 3, 1), dtype=np.uint8)


def image_set(images, *, levels):
    """Images as a data set, with labels that nobody reads."""
    source = InMemory({"image": images, "label": np.zeros(len(images), np.int32)})
    about = {"name": "images", "split": "train", "fingerprint": "0" * 64}
    shape = images.shape[1:]
    return ImageSet(**about, source=source, image_shape=shape, num_classes=None, levels=levels)


def trained(made, params, average=None):
    """A state of these parameters, and of an average if one is given."""
    opt_state = {} if average is None else {"model": EmaState(jnp.int32(1), average)}
    return TrainState(jnp.int32(0), {"model": params}, opt_state, made.init_extra(RNG))


def parts(made, params, images, count, name="eps"):
    """The observed images and the terms of `count` samples, of the noise that RNG names."""
    x = made.likelihood.observed(images, named(RNG, "x"))
    return x, made.terms(params, x, made.noise(named(RNG, name), len(x), count))


@pytest.mark.parametrize("name", BOUNDS)
def test_the_loss_is_minus_the_bound_of_its_k_and_beta(name):
    made, params, _, _ = linear_gaussian(bound=name, k=3, beta=2.5)
    state = trained(made, params)
    loss, aux = made.loss(params, state, {"image": GRID}, RNG)
    _, terms = parts(made, params, GRID, 3)
    assert terms.log_likelihood_BxK.shape == (5, 3)
    np.testing.assert_allclose(loss, -BOUNDS[name](terms, 2.5).mean(), rtol=1e-5)
    np.testing.assert_allclose(aux.metrics["kl"], terms.kl_B.mean(), rtol=1e-5)
    found = aux.metrics["reconstruction"]
    np.testing.assert_allclose(found, -terms.log_likelihood_BxK.mean(), rtol=1e-5)


def test_evaluation_is_of_the_elbos_parts_and_of_the_bound_at_beta_1():
    made, params, _, _ = linear_gaussian(bound="importance", k=3, beta=2.5)
    found = made.evaluate(trained(made, params), {"image": GRID}, RNG)
    _, terms = parts(made, params, GRID, 3)
    np.testing.assert_allclose(found["bound"], -BOUNDS["importance"](terms, 1.0), rtol=1e-5)
    np.testing.assert_allclose(found["kl"], terms.kl_B, rtol=1e-5)
    np.testing.assert_allclose(
        found["reconstruction"], -terms.log_likelihood_BxK.mean(1), rtol=1e-5
    )


def test_the_baseline_is_of_the_training_datas_moments():
    made = method(levels=2)
    image = np.zeros((100, 4, 4, 1), np.uint8)
    image[:25, 0, 0] = 1
    train = image_set(image, levels=2)
    # 25 of 100 images, and one more that is half white at every pixel.
    p, rare = 25.5 / 101, 0.5 / 101
    for shown, expected in ((image[:1], np.log(p)), (image[-1:], np.log1p(-p))):
        found = made.trivial(train, image_set(shown, levels=2))["nll"]["independent_pixels"]
        np.testing.assert_allclose(found, -expected - 15 * np.log1p(-rare), rtol=1e-4)


def test_the_baseline_is_a_mean_over_all_test_images():
    """Of more images than are observed at once."""
    made = method(levels=2)
    image = np.random.default_rng(0).integers(0, 2, (1500, 4, 4, 1), dtype=np.uint8)
    of = lambda test: made.trivial(image_set(image, levels=2), image_set(test, levels=2))  # noqa: E731
    whole, first, last = (
        of(test)["nll"]["independent_pixels"] for test in (image, image[:500], image[500:])
    )
    np.testing.assert_allclose(whole, (first + 2 * last) / 3, rtol=1e-5)
    shares = (image.sum(0) + 0.5) / 1501
    entropy = -(shares * np.log(shares) + (1 - shares) * np.log1p(-shares)).sum()
    np.testing.assert_allclose(whole, entropy, rtol=1e-3)


def test_the_gaussian_baseline_has_the_pixels_variance():
    made = method(likelihood="gaussian")
    params, mean = made.likelihood.marginal(
        jnp.full((4, 4, 1), 0.5), jnp.full((4, 4, 1), 0.25 + 0.09)
    )
    assert float(jnp.exp(params["log_std"])) == pytest.approx(0.3)
    np.testing.assert_array_equal(mean, 0.5)


def test_the_baseline_is_the_normal_of_the_moments():
    """Of one variance for all pixels, whatever the model's own deviation."""
    made, _, _, _ = linear_gaussian(std=None)
    images = image_set(np.repeat(GRID, 400, axis=0), levels=17)
    found = made.trivial(images, image_set(GRID[:2], levels=17))["nll"]["independent_pixels"]
    x = GRID / 8.0 - 1
    mean, square = (x.sum(0) * 400) / 2001, ((x**2).sum(0) * 400 + 1) / 2001
    std = np.sqrt(np.mean(square - mean**2))
    expected = -scipy.stats.norm(mean, std).logpdf(x[:2]).sum((1, 2, 3)).mean()
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def evaluated(made, state):
    found = made.evaluate(state, {"image": GRID}, RNG)
    return jnp.stack([found["nll"], found["bound"]])


@pytest.mark.parametrize(
    "of",
    [
        evaluated,
        lambda made, state: made.sample(state, RNG, count=4)["images"],
        lambda made, state: made.encode(state, made.likelihood.observed(GRID, RNG)),
        lambda made, state: made.decode(state, jnp.ones((2, 2))),
    ],
    ids=["evaluate", "sample", "encode", "decode"],
)
def test_all_but_training_is_by_the_averaged_parameters(of):
    made, live, _, _ = linear_gaussian()
    average = jax.tree.map(lambda leaf: 0.5 * leaf, live)
    found = of(made, trained(made, live, average))
    np.testing.assert_array_equal(found, of(made, trained(made, average)))
    assert float(jnp.abs(found - of(made, trained(made, live))).max()) > 1e-3


def test_encoding_is_the_posteriors_mean_and_decoding_the_images_mean():
    made, params, x, _ = linear_gaussian()
    state = trained(made, params)
    flat, encoder = np.asarray(x).reshape(5, -1), params["encoder"]["mean"]
    expected = flat @ encoder["kernel"] + encoder["bias"]
    np.testing.assert_allclose(made.encode(state, x), expected, rtol=1e-4, atol=1e-5)
    z = jnp.array([[0.1, -0.1], [5.0, 5.0]])  # the second leaves [-1, 1]
    raw = (z @ params["decoder"]["mlp"]["out"]["kernel"]).reshape(2, 2, 3, 1)
    assert np.abs(raw).max() > 1
    np.testing.assert_allclose(made.decode(state, z), np.clip(raw, -1, 1), rtol=1e-4, atol=1e-5)
    drawn = made.sample(state, RNG, count=4)["images"]
    prior = jax.random.normal(named(RNG, "z"), (4, 2))
    np.testing.assert_allclose(drawn, made.decode(state, prior), rtol=1e-5, atol=1e-6)


def test_chunks_of_weights_are_one_mean():
    """E exp(N(0, 1)) = exp(1/2); the mean over pairs of their mean's log is half of that."""

    def log_weights(rng, count):
        return jax.random.normal(rng, (3, count))

    found = log_likelihood(log_weights, jax.random.key(0), samples=40_000, chunk=2)
    np.testing.assert_allclose(found, 0.5, atol=0.03)
