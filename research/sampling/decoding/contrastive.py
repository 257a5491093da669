"""Contrastive search: likely tokens whose hidden state is unlike all before it.

What is compared is all that a decoder calls a hidden state. An encoder-decoder that copies has each
token's chance of being copied in it too, so that two states are alike also by what they copy.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from research.sampling.decoding.model import (
    Cache,
    Decoder,
    Params,
    Prompts,
    Text,
    append,
    blank,
    last,
    prefill,
    unfinished,
)


class Progress(NamedTuple):
    """The text, the directions of all hidden states so far, and the next token's logits."""

    text: Text
    directions_BxCxD: Float[Array, "B C D"]
    counts_B: Int32[Array, " B"]  # of prompt and text
    logits_BxV: Float[Array, "B V"]


@functools.partial(jax.jit, static_argnames=("decoder", "top_k", "capacity"))
def start(
    decoder: Decoder, params: Params, prompts: Prompts, *, top_k: int, capacity: int
) -> tuple[Cache, Progress]:
    """Reads the prompts. The cache has `top_k` equal rows a prompt, one for each candidate."""
    hidden_BxPxD, cache = prefill(decoder, params, prompts, capacity)
    batch, size = prompts.tokens_BxP.shape
    return decoder.take(cache, jnp.repeat(jnp.arange(batch), top_k)), Progress(
        blank(batch, capacity),
        jnp.pad(direction(hidden_BxPxD), ((0, 0), (0, capacity - size), (0, 0))),
        prompts.counts_B,
        decoder.logits(params, last(hidden_BxPxD, prompts.counts_B)),
    )


@functools.partial(
    jax.jit, static_argnames=("decoder", "top_k"), donate_argnames=("cache", "progress")
)
def advance(
    decoder: Decoder,
    params: Params,
    cache: Cache,
    progress: Progress,
    *,
    top_k: int,
    alpha: Array | float,
    end: Array | int,
    until: Array | int,
) -> tuple[Cache, Progress]:
    """Writes, until each row has `until` tokens or has ended, of the k likeliest tokens v that of
    highest (1 - alpha) p(v) - alpha max_j s(h_v, h_j), with s the cosine (2202.06417, eq. 5)."""
    batch = len(progress.counts_B)
    rows_B = jnp.arange(batch)

    def step(carry: tuple[Cache, Progress]) -> tuple[Cache, Progress]:
        cache, now = carry
        log_probs_BxK, tokens_BxK = jax.lax.top_k(jax.nn.log_softmax(now.logits_BxV), top_k)
        going_B = (~now.text.ended_B).astype(jnp.int32)
        hidden, cache = decoder.extend(
            params, cache, tokens_BxK.reshape(-1, 1), jnp.repeat(going_B, top_k)
        )
        hidden_BxKxD = hidden.reshape(batch, top_k, -1)
        likeness_BxK = likeness(hidden_BxKxD, now.directions_BxCxD, now.counts_B)
        chosen_B = jnp.argmax((1 - alpha) * jnp.exp(log_probs_BxK) - alpha * likeness_BxK, axis=1)

        text = append(
            now.text,
            tokens_BxK[rows_B, chosen_B][:, None],
            log_probs_BxK[rows_B, chosen_B][:, None],
            going_B,
            end,
        )
        cache = decoder.take(cache, jnp.repeat(rows_B * top_k + chosen_B, top_k))
        hidden_BxD = hidden_BxKxD[rows_B, chosen_B]
        return cache, Progress(
            text,
            now.directions_BxCxD.at[rows_B, now.counts_B].set(direction(hidden_BxD), mode="drop"),
            now.counts_B + going_B,
            decoder.logits(params, hidden_BxD),
        )

    def going(carry: tuple[Cache, Progress]) -> Array:
        return jnp.any(unfinished(carry[1].text, until))

    return jax.lax.while_loop(going, step, (cache, progress))


def likeness(hidden_BxKxD: Array, directions_BxCxD: Array, counts_B: Array) -> Array:
    """The highest cosine of each candidate's hidden state with those before it, (B, K)."""
    cosine_BxKxC = jnp.einsum("bkd,bcd->bkc", direction(hidden_BxKxD), directions_BxCxD)
    before_BxC = jnp.arange(directions_BxCxD.shape[1]) < counts_B[:, None]
    return jnp.max(jnp.where(before_BxC[:, None], cosine_BxKxC, -jnp.inf), axis=2)


def direction(hidden_xD: Array) -> Array:
    """Hidden states of length 1, float32."""
    hidden_xD = hidden_xD.astype(jnp.float32)
    return hidden_xD / jnp.linalg.norm(hidden_xD, axis=-1, keepdims=True)
