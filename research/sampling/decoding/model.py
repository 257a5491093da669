"""What decoding asks of a model, and what all strategies do with it: read a prompt, write on."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int32

type Params = Any
type Cache = Any
type Tokens = Sequence[int] | np.ndarray


@dataclasses.dataclass(frozen=True)
class Decoder:
    """A causal language model with a cache; hashable, so that programs are compiled for it.

    Programs are kept by a decoder's functions: make it once a model, not once a call.

    vocabulary: how many tokens the logits are of.
    length: the most tokens in a cache, of prompt and continuation.
    empty(batch, capacity): a cache that holds nothing.
    extend(params, cache, tokens_BxT, counts_B): appends the first `counts` of T tokens to each row,
      0 to T; returns hidden_BxTxD, of which what lies beyond a count is never looked at, and the
      cache. Tokens beyond a count leave no trace, and may stand beyond the capacity.
    logits(params, hidden_xD): logits_xV, float32.
    rewind(cache, lengths_B): forgets what came after so many tokens of each row; None where a
      model can't.
    take(cache, index_N): a cache of N rows, copies of those of this index.
    grow(cache, capacity): the cache with room for so many tokens; None where it needs none.
    """

    vocabulary: int
    length: int
    empty: Callable[[int, int], Cache]
    extend: Callable[[Params, Cache, Array, Array], tuple[Array, Cache]]
    logits: Callable[[Params, Array], Array]
    rewind: Callable[[Cache, Array], Cache] | None
    take: Callable[[Cache, Array], Cache]
    grow: Callable[[Cache, int], Cache] | None = None


class Prompts(NamedTuple):
    """Prompts, padded on the right, and how long each is."""

    tokens_BxP: Int32[Array, "B P"]
    counts_B: Int32[Array, " B"]


class Text(NamedTuple):
    """What has been written so far, 0 beyond it; a row has ended with its end token."""

    tokens_BxC: Int32[Array, "B C"]
    log_probs_BxC: Float[Array, "B C"]
    lengths_B: Int32[Array, " B"]
    ended_B: Bool[Array, " B"]


def prefill(
    decoder: Decoder, params: Params, prompts: Prompts, capacity: int
) -> tuple[Array, Cache]:
    """The hidden states (B, P, D) of prompts, and the cache that holds them."""
    cache = decoder.empty(len(prompts.counts_B), capacity)
    return decoder.extend(params, cache, prompts.tokens_BxP, prompts.counts_B)


def last(hidden_BxTxD: Array, counts_B: Array) -> Array:
    """The hidden state of each row's last token, (B, D)."""
    return hidden_BxTxD[jnp.arange(len(counts_B)), counts_B - 1]


def blank(batch: int, capacity: int) -> Text:
    return Text(
        jnp.zeros((batch, capacity), jnp.int32),
        jnp.zeros((batch, capacity), jnp.float32),
        jnp.zeros(batch, jnp.int32),
        jnp.zeros(batch, bool),
    )


def append(
    text: Text, tokens_BxT: Array, log_probs_BxT: Array, counts_B: Array, end: Array | int
) -> Text:
    """Writes the first `counts` of T tokens to each row that goes on; the end token ends it."""
    capacity = text.tokens_BxC.shape[1]
    at_T = jnp.arange(tokens_BxT.shape[1])
    ends_BxT = tokens_BxT == end
    ended_before_BxT = jnp.cumsum(ends_BxT, axis=1) - ends_BxT > 0
    kept_BxT = (at_T < counts_B[:, None]) & ~ended_before_BxT & ~text.ended_B[:, None]
    place_BxT = jnp.where(kept_BxT, text.lengths_B[:, None] + at_T, capacity)
    rows_Bx1 = jnp.arange(len(counts_B))[:, None]
    return Text(
        text.tokens_BxC.at[rows_Bx1, place_BxT].set(tokens_BxT, mode="drop"),
        text.log_probs_BxC.at[rows_Bx1, place_BxT].set(log_probs_BxT, mode="drop"),
        text.lengths_B + jnp.sum(kept_BxT, axis=1, dtype=jnp.int32),
        text.ended_B | jnp.any(kept_BxT & ends_BxT, axis=1),
    )


def unfinished(text: Text, until: Array | int) -> Array:
    """The rows that have not ended and have fewer than `until` tokens, bool (B,)."""
    return ~text.ended_B & (text.lengths_B < until)
