"""Diffusion and EDM: they learn, sample by every solver, and refuse what they can't do."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from research.data import image_sets
from research.data.scaling import scaled
from research.errors import InputError
from research.evaluation.pixel_histograms import histogram_bits
from research.methods.denoising import SOLVERS, labels_to_draw, training_labels
from research.methods.diffusion import Diffusion
from research.methods.diffusion_losses import bound_loss, weight
from research.methods.edm import EDM
from research.networks.unet import UNet
from research.sampling.denoisers import Prediction
from research.sampling.schedules import cosine
from tests.methods.test_vae_parts import image_set

RNG = jax.random.key(0, impl="rbg")  # compiles in half the time
BATCH = {
    "image": np.tile(np.arange(16, dtype=np.uint8).reshape(1, 4, 4, 1), (16, 1, 1, 1)),
    "label": np.arange(16, dtype=np.int32) % 3,
}


class Perceptron:
    """A network with the interface of a Linen module and nothing slow to compile."""

    def __init__(self, out_factor):
        self.out = 16 * out_factor

    def init(self, rng, x, t, labels=None):
        rngs = jax.random.split(rng)
        hidden = jax.random.normal(rngs[0], (16 + 2 + 4, 64)) / 4
        return {"params": {"hidden": hidden, "out": jnp.zeros((64, self.out))}}

    def init_with_output(self, rng, x, t):
        return self.apply(self.init(rng, x, t), x, t), self.init(rng, x, t)

    def apply(self, variables, x, t, labels=None, *, train=False, rngs=None):
        p, count = variables["params"], len(x)
        label = jax.nn.one_hot(jnp.full(count, 3) if labels is None else labels, 4)
        time = jnp.stack([t / 1000, jnp.ones(count)], axis=-1)
        features = jnp.concatenate([x.reshape(count, 16), time, label], axis=-1)
        output = jnp.tanh(features @ p["hidden"]) @ p["out"]
        return jnp.swapaxes(output.reshape(count, -1, 4, 4), 1, 3)


def method(kind=Diffusion, *, out_factor=1, num_classes=3, **arguments):
    if kind is Diffusion:
        arguments = {"timesteps": 20, "schedule": "cosine", "bound_terms": 4} | arguments
    arguments = {"network": Perceptron(out_factor), "num_classes": num_classes} | arguments
    shape = {"image_shape": (4, 4, 1), "levels": 17}
    return kind(optimizer=optax.adam(1e-2), **shape, **arguments)


def small_unet():
    sides = {"multipliers": (1,), "attention_resolutions": ()}
    return UNet(channels=8, blocks=1, head_channels=8, num_classes=3, **sides)


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (Diffusion, {"network": small_unet()}),
        (Diffusion, {"prediction": "v", "loss": "hybrid", "out_factor": 2}),
        (Diffusion, {"loss": "vlb", "out_factor": 2}),
        (Diffusion, {"prediction": "x0", "loss": "min_snr"}),
        (EDM, {}),
    ],
)
def test_learns_one_image(kind, arguments):
    made = method(kind, **arguments)
    state = jax.jit(made.init)(RNG, BATCH)
    step = jax.jit(made.step)
    losses = []
    for i in range(60):
        state, metrics = step(state, BATCH, jax.random.fold_in(RNG, i))
        losses.append(float(metrics["model/loss"]))
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])
    for name, value in jax.jit(made.evaluate)(state, BATCH, RNG).items():
        assert value.shape == (16,) and bool(jnp.isfinite(value).all()), name


@pytest.mark.parametrize(("kind", "solvers"), [(Diffusion, SOLVERS), (EDM, ("heun", "ancestral"))])
def test_samples_by_every_solver(kind, solvers):
    made = method(kind)
    state = made.init(RNG, BATCH)
    for solver in solvers:
        drawn = made.sample(state, RNG, count=4, solver=solver, steps=3, guidance=1.0)
        assert drawn["images"].shape == (4, 4, 4, 1)
        assert bool(jnp.isfinite(drawn["images"]).all()), solver
        np.testing.assert_array_equal(drawn["labels"], [0, 1, 2, 0])


def test_the_bound_falls_in_training_and_the_sample_is_the_image():
    made = method(prediction="x0", bound_terms=19)
    state = jax.jit(made.init)(RNG, BATCH)
    evaluate, step = jax.jit(made.evaluate), jax.jit(made.step)
    before = evaluate(state, BATCH, RNG)["bits_per_dim"].mean()
    for i in range(200):
        state, _ = step(state, BATCH, jax.random.fold_in(RNG, i))
    assert evaluate(state, BATCH, RNG)["bits_per_dim"].mean() < before / 2
    drawn = made.sample(state, RNG, count=8)["images"]
    assert float(jnp.abs(drawn - scaled(BATCH["image"][:8], 17)).mean()) < 0.1


def test_pixels_by_themselves_stand_beside():
    train, test = (image_sets.load("digits", split) for split in ("train", "test"))
    seen, met = (np.asarray(data.arrays()["image"]) for data in (train, test))
    expected = histogram_bits([seen], [met], levels=17)
    assert method().trivial(train, test) == {"bits_per_dim": {"pixel_histograms": expected}}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"solver": "ddmi"}, "nearest: ddim"),
        ({"solver": "ancestral", "eta": 0.5}, "eta is an option"),
        ({"steps": 21}, "steps is 21"),
        ({"steps": 0}, "steps is 0"),
        ({"labels": [1, 2]}, r"shape \(2,\)"),
        ({"labels": [1, 2, 4]}, r"in 0\.\.3"),
    ],
)
def test_a_bad_option_of_sample_is_named(options, message):
    made = method()
    with pytest.raises(InputError, match=message):
        made.sample(jax.jit(made.init)(RNG, BATCH), RNG, count=3, **options)


def test_guidance_needs_classes():
    with pytest.raises(InputError, match="need a model with classes"):
        labels_to_draw(None, count=2, num_classes=0, guidance=1.0, label_dropout=0.1)


def test_guidance_and_labels_out_of_range():
    asked = dict(count=2, num_classes=3, label_dropout=0.1)
    with pytest.raises(InputError, match="guidance is inf; it must be a finite number"):
        labels_to_draw(None, guidance=float("inf"), **asked)
    with pytest.raises(InputError, match=r"labels must lie in 0\.\.3"):
        labels_to_draw([0, 5_000_000_000], guidance=1.0, **asked)


@pytest.mark.parametrize(
    "argument",
    [
        {"schedule": "cosin"},
        {"prediction": "epsilon"},
        {"loss": "simpel"},
        {"bound_variance": "betta"},
    ],
)
def test_a_bad_argument_is_named(argument):
    ((name, value),) = argument.items()
    with pytest.raises(InputError, match=f"no {name} '{value}'; nearest: "):
        method(**argument)


def test_no_timesteps_are_named():
    with pytest.raises(InputError, match="timesteps is 0; 1 is the least"):
        method(timesteps=0)


def test_a_learned_variance_needs_twice_the_channels():
    with pytest.raises(InputError, match="out_factor to 2"):
        method(loss="hybrid").init(RNG, BATCH)


def test_label_dropout_rate():
    batch = {"label": np.arange(20_000, dtype=np.int32) % 10}
    labels = training_labels(batch, RNG, num_classes=10, label_dropout=0.2)
    assert float(jnp.mean(labels == 10)) == pytest.approx(0.2, abs=0.01)
    kept = labels != 10
    np.testing.assert_array_equal(labels[kept], batch["label"][kept])


def test_scaled_reaches_both_ends():
    np.testing.assert_allclose(
        scaled(np.array([0, 8, 16]).reshape(1, 3, 1, 1), 17).ravel(), [-1, 0, 1]
    )


@pytest.mark.parametrize("kind", ["eps", "x0", "v"])
def test_min_snr_weighs_the_error_of_x0_alike(kind):
    """The error of x_0 is that of eps over SNR, and that of v over SNR + 1."""
    schedule = cosine(100)
    snr = np.exp(schedule.log_snr[1:])
    per_x0 = {"eps": snr, "x0": 1, "v": snr + 1}[kind]
    weights = np.asarray(weight("min_snr", kind, schedule))[1:]
    np.testing.assert_allclose(weights * per_x0, np.minimum(snr, 5), rtol=1e-5)


def test_hybrid_loss_teaches_the_variance_only():
    """2102.09672, section 3.1: a stop-gradient on the mean, a thousandth of the bound."""
    schedule, t = cosine(20), jnp.array([1, 5, 15])
    x0, x = 0.5 * jnp.ones((3, 2)), jnp.ones((3, 2))

    def loss(name, x0_hat, fraction):
        prediction = Prediction(x0_hat, fraction)
        return jnp.sum(bound_loss(name, prediction, schedule, x0, x, t, levels=17))

    at = jnp.zeros((3, 2)), jnp.full((3, 2), 0.4)
    gradient = jax.jit(jax.grad(loss, argnums=(1, 2)), static_argnums=0)
    of_mean, of_variance = gradient("hybrid", *at)
    full_mean, full_variance = gradient("vlb", *at)
    assert bool((of_mean == 0).all()) and bool((full_mean != 0).all())
    np.testing.assert_allclose(of_variance, full_variance / 1000, rtol=1e-4)


class ByPixel(EDM):
    """The best denoiser where pixels are independent Gaussians of `mean` and `variance`."""

    def precondition(self, params, x, sigma, labels, **options):
        noise = sigma.reshape(-1, 1, 1, 1) ** 2
        return (noise * self.mean + self.variance * x) / (noise + self.variance)


def test_independent_pixels_denoise_as_in_the_loss():
    """The closed form is the mean over drawn sigmas and noise, of images of other moments too."""
    made, rng = method(ByPixel), np.random.default_rng(0)
    seen, met = (rng.integers(0, n, (20, 4, 4, 1), dtype=np.uint8) for n in (9, 17))
    x = scaled(seen, 17)
    made.mean = x.sum(0) / 21
    made.variance = ((x**2).sum(0) + 1) / 21 - made.mean**2
    sets = (image_set(images, levels=17) for images in (seen, met))
    found = made.trivial(*sets)["denoising_error"]["independent_pixels"]
    drawn = jnp.asarray(np.repeat(scaled(met, 17), 5000, axis=0))
    errors = np.asarray(made.denoising_error({}, drawn, None, jax.random.key(0), train=False))
    scatter = float(errors.std()) / len(errors) ** 0.5
    assert scatter < 0.01 * found
    assert found == pytest.approx(errors.mean(), abs=4 * scatter)


class Echo:
    """A network that answers with its input plus its time."""

    def apply(self, variables, x, t, labels, **options):
        return x + t[:, None, None, None]


def test_edm_is_preconditioned_as_its_table_says():
    """2206.00364, Table 1, with sigma_data 0.5."""
    made = method(EDM, network=Echo())
    x = jax.random.normal(RNG, (3, 4, 4, 1))
    sigma = jnp.array([0.002, 0.5, 80.0])
    s = sigma.reshape(-1, 1, 1, 1)
    c_skip, c_out = 0.25 / (0.25 + s**2), s * 0.5 / jnp.sqrt(0.25 + s**2)
    c_in, c_noise = 1 / jnp.sqrt(0.25 + s**2), jnp.log(s) / 4
    expected = c_skip * x + c_out * (c_in * x + c_noise)
    np.testing.assert_allclose(made.precondition({}, x, sigma, None), expected, rtol=1e-4)


def test_edm_starts_at_a_loss_of_1():
    """On data of standard deviation sigma_data, when the network's output is 0."""
    made = method(EDM)
    params = made.init(RNG, BATCH).params["model"]
    data = 0.5 * jax.random.normal(RNG, (512, 4, 4, 1))
    error = made.denoising_error(params, data, None, jax.random.key(1), train=False)
    assert float(error.mean()) == pytest.approx(1, abs=0.1)
