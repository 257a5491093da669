"""Masked diffusion: of a known distribution the bound is its entropy, and its draws are exact."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

from research.data import tokenizers
from research.errors import InputError
from research.methods.masked_diffusion import MaskedDiffusion
from research.networks.transformer import Transformer

TOKENIZER = tokenizers.train("char", ["abc"])
MASK, SIZE, LENGTH = TOKENIZER.mask, TOKENIZER.size, 3
LETTERS = TOKENIZER.encode("abc")
TEXTS = np.array(list(itertools.product(LETTERS, repeat=LENGTH)))  # all 27
CHANCES = np.random.default_rng(0).dirichlet(np.full(len(TEXTS), 0.5))


class Exact:
    """The network that knows CHANCES: each place's token given those that are seen."""

    causal = False

    def init(self, rng, tokens, method):
        return {"params": {}}

    def apply(self, variables, tokens, *, train=False, rngs=None, method=None):
        if method == "logits":
            return tokens  # hidden states are the logits
        fits = (tokens[:, None] == TEXTS) | (tokens[:, None] == MASK)
        weights = jnp.where(fits.all(axis=-1), CHANCES, 0)
        is_token = TEXTS[..., None] == np.arange(SIZE)
        chances = jnp.einsum("bn,ntv->btv", weights, is_token.astype(np.float32))
        return jnp.log(chances / jnp.sum(weights, axis=-1)[:, None, None])


def method(network=None, length=LENGTH, packed=False):
    sizes = dict(vocabulary=SIZE, length=length, width=16, layers=1, heads=2, causal=False)
    return MaskedDiffusion(
        network=network or Transformer(**sizes),
        optimizer=optax.adam(1e-3),
        tokenizer=TOKENIZER,
        length=length,
        bytes_per_token=1.0,
        packed=packed,
    )


def test_the_bound_of_the_exact_model_is_the_texts_own_nats():
    """Whatever the order, the chances of its tokens one by one are the text's: eq. 10 is tight."""
    model = method(Exact())
    rows = jnp.asarray(np.tile(TEXTS, (4000, 1)))  # each text at times spread evenly
    bound_B, right, hidden = jax.jit(model.bound)({}, rows, jax.random.key(0))
    found = np.asarray(bound_B).reshape(-1, len(TEXTS)) * LENGTH
    errors = found.std(axis=0) / np.sqrt(len(found))
    np.testing.assert_array_less(np.abs(found.mean(axis=0) + np.log(CHANCES)), 4.5 * errors + 0.02)
    assert float(hidden) / rows.size == pytest.approx(0.5, abs=0.005)
    assert 0 < float(right) < float(hidden)


def test_texts_have_the_exact_models_distribution():
    model = method(Exact())
    state = model.init(jax.random.key(0), {"tokens": jnp.zeros((1, LENGTH + 1), jnp.int32)})
    texts = model.sample(state, jax.random.key(1), count=20_000, steps=600)["texts"]
    counts = np.array([(texts == TOKENIZER.decode(text)).sum() for text in TEXTS])
    assert counts.sum() == len(texts)
    frequent = CHANCES * len(texts) > 5
    expected = np.append(CHANCES[frequent], CHANCES[~frequent].sum()) * len(texts)
    seen = np.append(counts[frequent], counts[~frequent].sum())
    statistic = np.sum((seen - expected) ** 2 / expected)
    assert scipy.stats.chi2.sf(statistic, len(expected) - 1) > 1e-3


def test_one_step_tells_all_at_once_each_place_by_itself():
    """Then places are independent, which the texts' distribution is not."""
    model = method(Exact())
    state = model.init(jax.random.key(0), {"tokens": jnp.zeros((1, LENGTH + 1), jnp.int32)})
    texts = model.sample(state, jax.random.key(1), count=20_000, steps=1)["texts"]
    counts = np.array([(texts == TOKENIZER.decode(text)).sum() for text in TEXTS])
    marginals = (CHANCES[:, None, None] * (TEXTS[..., None] == LETTERS)).sum(axis=0)
    product = np.array(
        [np.prod(marginals[range(LENGTH), np.searchsorted(LETTERS, t)]) for t in TEXTS]
    )
    np.testing.assert_allclose(counts / len(texts), product, atol=0.012)
    assert np.abs(product - CHANCES).max() > 0.03


def test_a_prompt_stays_and_no_mask_is_left():
    model = method(length=12)
    state = model.init(jax.random.key(0), {"tokens": jnp.zeros((1, 13), jnp.int32)})
    log_probs = model.log_probs(state.params["model"], jnp.full((1, 12), MASK))
    assert np.all(np.asarray(log_probs)[..., MASK] == -np.inf)
    for text in model.sample(state, jax.random.key(1), count=3, prompt="abca", steps=5)["texts"]:
        assert text.startswith("abca")
    with pytest.raises(InputError, match="the prompt has 12 tokens, and the model's context is 12"):
        model.sample(state, jax.random.key(1), count=1, prompt="abc" * 4)
    with pytest.raises(InputError, match=r"data\.packing must be 'windows'"):
        method(packed=True)
    with pytest.raises(InputError, match="steps is 0"):
        model.sample(state, jax.random.key(1), count=1, steps=0)


def test_drawing_is_compiled_once_for_all_weights(monkeypatch):
    model = method()
    state = model.init(jax.random.key(0), {"tokens": jnp.zeros((1, LENGTH + 1), jnp.int32)})
    drawn = model.sample(state, jax.random.key(1), count=8)["texts"].tolist()
    monkeypatch.setattr(model, "log_probs", None)
    other = dataclasses.replace(state, params=jax.tree.map(lambda x: -9 * x, state.params))
    assert model.sample(state, jax.random.key(1), count=8)["texts"].tolist() == drawn
    assert model.sample(other, jax.random.key(1), count=8)["texts"].tolist() != drawn


def test_it_learns():
    model = method(length=8)
    batch = {"tokens": jnp.asarray(np.tile(np.resize(LETTERS, 9), (32, 1)))}
    state = model.init(jax.random.key(0), batch)
    first = model.evaluate(state, batch, jax.random.key(2))["loss"].mean()
    step = jax.jit(model.step)
    for i in range(60):
        state, _ = step(state, batch, jax.random.key(i))
    assert model.evaluate(state, batch, jax.random.key(2))["loss"].mean() < 0.6 * first
