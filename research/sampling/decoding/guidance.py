"""Guidance by a negative prompt: a decoder made of one model with two prompts a row."""

import jax.numpy as jnp
from jaxtyping import Array

from research.sampling.decoding.model import Cache, Decoder, Params


def guided(decoder: Decoder, guidance: float) -> Decoder:
    """logits_neg + g (logits - logits_neg), with g = `guidance` (2306.17806, eq. 7).

    g = 1 is the model after its prompt, g = 0 after the negative one. Row i's cache is two rows of
    the model's, 2 i after the prompt and 2 i + 1 after the negative prompt; the same tokens are
    appended to both, in one pass over the weights. The model itself prefills it, with the prompts
    in that order, and `paired` makes this decoder's hidden states of the model's.
    """

    def extend(
        params: Params, cache: Cache, tokens_BxT: Array, counts_B: Array
    ) -> tuple[Array, Cache]:
        both = jnp.repeat(tokens_BxT, 2, axis=0), jnp.repeat(counts_B, 2)
        hidden, cache = decoder.extend(params, cache, *both)
        return paired(hidden), cache

    def logits(params: Params, hidden_x2D: Array) -> Array:
        hidden_x2xD = hidden_x2D.reshape(*hidden_x2D.shape[:-1], 2, -1)
        logits_x2xV = decoder.logits(params, hidden_x2xD)
        own, negative = logits_x2xV[..., 0, :], logits_x2xV[..., 1, :]
        return negative + guidance * (own - negative)

    def empty(batch: int, capacity: int) -> Cache:
        return decoder.empty(2 * batch, capacity)

    def take(cache: Cache, index_N: Array) -> Cache:
        return decoder.take(cache, jnp.stack([2 * index_N, 2 * index_N + 1], axis=1).reshape(-1))

    own = decoder.vocabulary, decoder.length
    return Decoder(*own, empty, extend, logits, None, take, decoder.grow)


def paired(hidden_2Bx: Array) -> Array:
    """The hidden states of a row's two rows side by side: (2 B, ..., D) as (B, ..., 2 D)."""
    return jnp.concatenate([hidden_2Bx[::2], hidden_2Bx[1::2]], axis=-1)
