"""Evaluation and sampling are by the averaged parameters, whatever the live ones are."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from research.methods.classifier import Classifier
from research.methods.edm import EDM
from research.training.optimizers import EmaState
from tests.methods import (
    test_diffusion,
    test_language_model,
    test_masked_diffusion,
    test_masked_language_model,
    test_ppo,
    test_sequence_to_sequence,
)

RNG = jax.random.key(0)
ROWS = np.random.default_rng(0).integers(4, 9, (4, 9), dtype=np.int32)
PAIRS = test_sequence_to_sequence.pairs(["abcdef", "gh", "hgfe", "bd"])


class Linear:
    """A network of one matrix: logits of three classes, and no features of its own."""

    def init(self, rng, images):
        return {"params": {"kernel": jax.random.normal(rng, (images[0].size, 3))}}

    def apply(self, variables, images):
        flat = images.reshape(len(images), -1)
        return flat @ variables["params"]["kernel"], flat


def classifier():
    shape = {"image_shape": (4, 4, 1), "levels": 17, "num_classes": 3}
    return Classifier(network=Linear(), optimizer=optax.adam(1e-2), **shape)


MADE = {
    "diffusion": (test_diffusion.method, test_diffusion.BATCH),
    "edm": (lambda: test_diffusion.method(EDM), test_diffusion.BATCH),
    "classifier": (classifier, test_diffusion.BATCH),
    "masked_diffusion": (
        lambda: test_masked_diffusion.method(length=8),
        {"tokens": np.asarray(test_masked_diffusion.LETTERS)[ROWS % 3]},
    ),
    "language_model": (lambda: test_language_model.method(length=8), {"tokens": ROWS}),
    "masked_language_model": (
        lambda: test_masked_language_model.method(length=8),
        test_masked_language_model.batch_of(jnp.asarray(ROWS)),
    ),
    "sequence_to_sequence": (test_sequence_to_sequence.method, PAIRS),
    "ppo": (test_ppo.painter, test_ppo.IMAGES),
}


def evaluated(made, batch):
    own = {"bits_per_dim", "simple_loss", "denoising_error", "loss", "return"}
    evaluate = jax.jit(made.evaluate, compiler_options=test_ppo.QUICK)

    def of(state):
        found = evaluate(state, batch, RNG)
        values = np.stack([values for name, values in found.items() if name in own])
        assert np.isfinite(values).all()
        return values

    return of


def sampled(made, batch, **options):
    return lambda state: np.asarray(
        next(iter(made.sample(state, RNG, count=4, **options).values()))
    )


def likelihoods(made, batch):
    return lambda state: made.log_likelihoods(state, [("to", " be"), ("", "or not")])


@pytest.mark.parametrize(
    ("name", "what", "options"),
    [
        *((name, evaluated, {}) for name in MADE),
        ("diffusion", sampled, {"steps": 3}),
        ("edm", sampled, {"steps": 3}),
        ("masked_diffusion", sampled, {"steps": 3}),
        ("language_model", sampled, {"new_tokens": 6, "strategy": "temperature"}),
        ("language_model", likelihoods, {}),
        ("masked_language_model", sampled, {"prompt": "to <mask><mask>"}),
        ("sequence_to_sequence", sampled, {"prompt": "abcd", "strategy": "temperature"}),
        ("ppo", sampled, {}),
    ],
    ids=lambda value: "" if isinstance(value, dict) else getattr(value, "__name__", value),
)
def test_it_is_by_the_averaged_parameters(name, what, options):
    make, batch = MADE[name]
    made = make()
    state = jax.jit(made.init, compiler_options=test_ppo.QUICK)(RNG, batch)
    live, noise = state.params["model"], np.random.default_rng(0).normal
    average = jax.tree.map(lambda leaf: jnp.float32(leaf + noise(size=leaf.shape)), live)
    of = what(made, batch, **options)

    def with_parameters(params, average):
        opt_state = {"model": EmaState(jnp.int32(1), average)}
        return dataclasses.replace(state, params={"model": params}, opt_state=opt_state)

    found = of(with_parameters(live, average))
    np.testing.assert_array_equal(found, of(with_parameters(average, average)))
    assert (found != of(with_parameters(live, live))).any()
