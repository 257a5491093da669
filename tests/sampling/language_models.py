"""Tiny language models of known distribution, and what decoding should make of them."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from research.sampling.decoding import Decoder

V, D, LENGTH = 5, 6, 64


def parameters(seed, scale=0.8):
    """Of a model of order 2: a hidden state for each pair of tokens, before V if there is none."""
    one, two = jax.random.split(jax.random.key(seed))
    return {
        "hidden": jax.random.normal(one, (V + 1, V, D)),
        "head": scale * jax.random.normal(two, (D, V)),
    }


def empty(batch, capacity):
    return {"tokens": jnp.full((batch, capacity), -7), "lengths": jnp.zeros(batch, jnp.int32)}


def extend(params, cache, tokens, counts, *, traces=None):
    """The cache is the whole history, garbage beyond its length; a row too long for it is NaN."""
    if traces is not None:
        traces.append(tokens.shape)
    rows, at = jnp.arange(len(counts))[:, None], jnp.arange(tokens.shape[1])
    place = cache["lengths"][:, None] + at
    kept = jnp.where(at < counts[:, None], place, cache["tokens"].shape[1])
    history = cache["tokens"].at[rows, kept].set(tokens, mode="drop")
    before = jnp.where(place > 0, history[rows, place - 1], V)
    lengths = cache["lengths"] + counts
    fits = (lengths <= cache["tokens"].shape[1])[:, None, None]
    hidden = jnp.where(fits, params["hidden"][before, tokens], jnp.nan)
    return hidden, {"tokens": history, "lengths": lengths}


def logits(params, hidden):
    return hidden @ params["head"]


def rewind(cache, lengths):
    return {**cache, "lengths": lengths}


def take(cache, index):
    return jax.tree.map(lambda leaf: leaf[index], cache)


def grow(cache, capacity):
    more = capacity - cache["tokens"].shape[1]
    return {**cache, "tokens": jnp.pad(cache["tokens"], [(0, 0), (0, more)], constant_values=-7)}


ORDER_2 = Decoder(V, LENGTH, empty, extend, logits, rewind, take, grow)


def counting(traces):
    """ORDER_2 that notes each time a program with it is traced."""
    counted = functools.partial(extend, traces=traces)
    return Decoder(V, LENGTH, empty, counted, logits, rewind, take, grow)


def empty_recurrent(batch, capacity):
    return jnp.full(batch, V)


def extend_recurrent(params, last, tokens, counts):
    """The cache is the last token; it is V before the first."""
    before = jnp.concatenate([last[:, None], tokens[:, :-1]], axis=1)
    newest = tokens[jnp.arange(len(counts)), jnp.maximum(counts - 1, 0)]
    return params["hidden"][before, tokens], jnp.where(counts > 0, newest, last)


RECURRENT = Decoder(V, LENGTH, empty_recurrent, extend_recurrent, logits, None, take)


def logits_after(params, tokens):
    """ORDER_2's next logits, float64."""
    before = tokens[-2] if len(tokens) > 1 else V
    hidden, head = (np.asarray(params[name], np.float64) for name in ("hidden", "head"))
    return hidden[before, tokens[-1]] @ head


def softmax(row):
    weights = np.exp(row - np.max(row))
    return weights / weights.sum()


def log_prob(params, prompt, tokens):
    """Of each token after those before it."""
    return [
        np.log(softmax(logits_after(params, [*prompt, *tokens[:i]])))[token]
        for i, token in enumerate(tokens)
    ]


def sequences(step, prompt, count):
    """Probability of each sequence of `count` tokens by `step(text so far, step)`, (V,) * count."""
    exact = np.zeros((V,) * count)
    for tokens in itertools.product(range(V), repeat=count):
        exact[tokens] = np.prod(
            [step([*prompt, *tokens[:i]], i)[token] for i, token in enumerate(tokens)]
        )
    return exact


def index(tokens):
    """A number for each row of tokens, as `sequences(...).ravel()` has them."""
    return np.ravel_multi_index(np.asarray(tokens).T, (V,) * np.shape(tokens)[1])
