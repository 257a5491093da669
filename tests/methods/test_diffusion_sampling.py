"""What sampling by diffusion and EDM passes on: labels, guidance and the solver's options."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.errors import InputError
from research.methods.diffusion import Diffusion
from research.methods.edm import EDM
from research.sampling.ancestral import ancestral
from research.sampling.ddim import ddim
from research.sampling.schedules import karras, respaced
from research.training.rng import named
from tests.methods.test_diffusion import BATCH, RNG, method

LEVELS = np.array([0.5, 1.2, -0.2, 1.6], np.float32)  # of each class, and of the null label


class Level:
    """A network whose output is its label's level, and its input plays no part."""

    def init(self, rng, x, t):
        return {"params": {}}

    def init_with_output(self, rng, x, t):
        return self.apply({}, x, t), {"params": {}}

    def apply(self, variables, x, t, labels=None, **options):
        told = jnp.full(len(x), 3) if labels is None else labels
        return jnp.broadcast_to(jnp.asarray(LEVELS)[told, None, None, None], x.shape)


class Unconditioned(EDM):
    """EDM whose network's output is the image itself."""

    def precondition(self, params, x, sigma, labels, **options):
        return self.network.apply({"params": params}, x, sigma, labels)


@pytest.mark.parametrize("guidance", [0.0, 1.0])
@pytest.mark.parametrize(
    ("kind", "arguments", "solver"),
    [(Diffusion, {"prediction": "x0"}, "ddim"), (Unconditioned, {}, "heun")],
    ids=["diffusion", "edm"],
)
def test_an_image_is_of_its_label_and_away_from_the_null_one(kind, arguments, solver, guidance):
    """A solver without noise ends on the denoiser's image, which is clipped after guidance."""
    made = method(kind, network=Level(), **arguments)
    state = made.init(RNG, BATCH)
    options = {"solver": solver, "steps": 3, "guidance": guidance, "labels": [2, 0, 1, 3]}
    drawn = made.sample(state, RNG, count=4, **options)
    np.testing.assert_array_equal(drawn["labels"], [2, 0, 1, 3])
    guided = (1 + guidance) * LEVELS[[2, 0, 1, 3]] - guidance * LEVELS[3]
    expected = np.broadcast_to(np.clip(guided, -1, 1)[:, None, None, None], (4, 4, 4, 1))
    np.testing.assert_allclose(drawn["images"], expected, atol=1e-5)


@pytest.mark.parametrize("kind", [Diffusion, EDM])
def test_a_model_that_dropped_no_labels_has_no_null_one(kind):
    made = method(kind, network=Level(), label_dropout=0.0)
    state = made.init(RNG, BATCH)
    with pytest.raises(InputError, match=r"guidance needs .* method\.label_dropout is 0"):
        made.sample(state, RNG, count=2, guidance=1.0)
    with pytest.raises(InputError, match=r"labels must lie in 0\.\.2"):
        made.sample(state, RNG, count=2, labels=[0, 3])


def test_guidance_of_edm_is_between_denoised_images():
    made = method(EDM, network=Level())
    x, sigma, labels = 0.1 * jax.random.normal(RNG, (3, 4, 4, 1)), jnp.full(3, 0.3), jnp.arange(3)
    conditional, null = (made.precondition({}, x, sigma, told) for told in (labels, None))
    found = made.denoiser({}, labels, 1.0)(x, sigma[0]).x0
    np.testing.assert_allclose(found, jnp.clip(2 * conditional - null, -1, 1), rtol=1e-5)
    assert float(jnp.abs(found - conditional).min()) > 0.01


def start(made, steps):
    """The noise that a sample of 4 begins with, and its levels."""
    noise = jax.random.normal(named(RNG, "x"), (4, 4, 4, 1))
    if isinstance(made, Diffusion):
        return noise, respaced(made.schedule, steps)
    return made.sigma_max * noise, karras(steps)


@pytest.mark.parametrize("kind", [Diffusion, EDM])
def test_the_solver_is_told_eta(kind):
    made = method(kind)
    state = made.init(RNG, BATCH)
    drawn, without = (
        made.sample(state, RNG, count=4, solver="ddim", steps=3, eta=eta)["images"]
        for eta in (0.7, 0.0)
    )
    denoise = made.denoiser(state.params["model"], jnp.array([0, 1, 2, 0]))
    expected = ddim(denoise, *start(made, 3), named(RNG, "solver"), eta=0.7)
    np.testing.assert_allclose(drawn, expected, rtol=1e-4, atol=1e-5)
    assert float(jnp.abs(drawn - without).max()) > 0.01


def test_ancestral_sampling_is_of_the_learned_variance():
    made = method(loss="hybrid", out_factor=2)
    state = made.init(RNG, BATCH)
    drawn = made.sample(state, RNG, count=4, solver="ancestral", steps=3)["images"]
    denoise = made.denoiser(state.params["model"], jnp.array([0, 1, 2, 0]))
    learned, fixed = (
        ancestral(denoise, *start(made, 3), named(RNG, "solver"), variance=variance)
        for variance in ("learned", "beta_tilde")
    )
    np.testing.assert_allclose(drawn, learned, rtol=1e-4, atol=1e-5)
    assert float(jnp.abs(learned - fixed).max()) > 0.01
