"""Beam search with a length penalty: the likeliest text among the few best beginnings."""

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
    blank,
    last,
    prefill,
)


class Progress(NamedTuple):
    """K beginnings a prompt, all of `step` tokens, and the best text that has come to an end.

    A beginning of log-probability -inf is none; without any, the search of a prompt is over.
    """

    text: Text
    best_B: Float[Array, " B"]  # the text's score
    tokens_BxKxC: Int32[Array, "B K C"]
    log_probs_BxKxC: Float[Array, "B K C"]
    totals_BxK: Float[Array, "B K"]
    logits_BxKxV: Float[Array, "B K V"]
    step: Int32[Array, ""]


@functools.partial(jax.jit, static_argnames=("decoder", "beams", "capacity"))
def start(
    decoder: Decoder, params: Params, prompts: Prompts, *, beams: int, capacity: int
) -> tuple[Cache, Progress]:
    """Reads each prompt once; one beginning of it is real, the empty one."""
    hidden, cache = prefill(decoder, params, prompts, capacity)
    logits_BxV = decoder.logits(params, last(hidden, prompts.counts_B))
    batch = len(prompts.counts_B)
    cache = decoder.take(cache, jnp.repeat(jnp.arange(batch), beams))
    return cache, Progress(
        blank(batch, capacity),
        jnp.full(batch, -jnp.inf),
        jnp.zeros((batch, beams, capacity), jnp.int32),
        jnp.zeros((batch, beams, capacity), jnp.float32),
        jnp.full((batch, beams), -jnp.inf).at[:, 0].set(0),
        jnp.repeat(logits_BxV[:, None], beams, axis=1),
        jnp.int32(0),
    )


@functools.partial(jax.jit, static_argnames=("decoder",), donate_argnames=("cache", "progress"))
def search(
    decoder: Decoder,
    params: Params,
    cache: Cache,
    progress: Progress,
    *,
    alpha: Array | float,
    end: Array | int,
    new_tokens: Array | int,
) -> tuple[Cache, Progress]:
    """The text Y of highest log P(Y | X) / lp(Y) that the beams meet (GNMT, 1609.08144, eq. 14).

    Y ends with the end token, or has `new_tokens`. A prompt's search stops once its beginnings,
    whose log-probabilities only fall, can't become better than what it has. Where logits were NaN,
    log-probabilities are.
    """
    batch, beams, _ = progress.tokens_BxKxC.shape

    def step(carry: tuple[Cache, Progress]) -> tuple[Cache, Progress]:
        cache, now = carry
        # Where there is no beginning nothing was appended, and the logits may be anything.
        is_none_BxK = now.totals_BxK == -jnp.inf
        log_probs_BxKxV = jax.nn.log_softmax(jnp.where(is_none_BxK[..., None], 0, now.logits_BxKxV))
        totals_BxKxV = now.totals_BxK[..., None] + log_probs_BxKxV
        is_end_V = jnp.arange(decoder.vocabulary) == end

        ended_BxK = jnp.max(jnp.where(is_end_V, totals_BxKxV, -jnp.inf), axis=2)
        now = ended(now, ended_BxK, log_probs_BxKxV, alpha, end)

        # Beginnings that go on: the best K of all beams' tokens but the end.
        going_BxN = jnp.where(is_end_V, -jnp.inf, totals_BxKxV).reshape(batch, -1)
        totals_BxK, places_BxK = jax.lax.top_k(going_BxN, beams)
        beams_BxK, tokens_BxK = jnp.divmod(places_BxK, decoder.vocabulary)
        drawn_BxK = jnp.take_along_axis(log_probs_BxKxV.reshape(batch, -1), places_BxK, axis=1)
        tokens_BxKxC, log_probs_BxKxC = (
            jnp.take_along_axis(array, beams_BxK[..., None], axis=1).at[:, :, now.step].set(new)
            for array, new in ((now.tokens_BxKxC, tokens_BxK), (now.log_probs_BxKxC, drawn_BxK))
        )
        reachable_B = jnp.max(totals_BxK, axis=1) / length_penalty(new_tokens, alpha)
        totals_BxK = jnp.where(now.best_B[:, None] >= reachable_B[:, None], -jnp.inf, totals_BxK)

        rows_BxK = jnp.arange(batch)[:, None] * beams + beams_BxK
        cache = decoder.take(cache, rows_BxK.reshape(-1))
        goes_on = jnp.isfinite(totals_BxK).reshape(-1).astype(jnp.int32)
        hidden, cache = decoder.extend(params, cache, tokens_BxK.reshape(-1, 1), goes_on)
        logits_BxKxV = decoder.logits(params, hidden[:, 0]).reshape(batch, beams, -1)
        return cache, now._replace(
            tokens_BxKxC=tokens_BxKxC,
            log_probs_BxKxC=log_probs_BxKxC,
            totals_BxK=totals_BxK,
            logits_BxKxV=logits_BxKxV,
            step=now.step + 1,
        )

    def going(carry: tuple[Cache, Progress]) -> Array:
        return (carry[1].step < new_tokens) & jnp.any(jnp.isfinite(carry[1].totals_BxK))

    cache, progress = jax.lax.while_loop(going, step, (cache, progress))
    progress = kept(progress, progress.totals_BxK, progress.step, alpha)
    found_B, log_probs_BxC = jnp.isfinite(progress.best_B), progress.text.log_probs_BxC
    text = progress.text._replace(log_probs_BxC=jnp.where(found_B[:, None], log_probs_BxC, jnp.nan))
    return cache, progress._replace(text=text)


def ended(
    now: Progress,
    totals_BxK: Array,
    log_probs_BxKxV: Array,
    alpha: Array | float,
    end: Array | int,
) -> Progress:
    """Keeps a prompt's best beginning with the end token after it, if better than what it has."""
    with_end = now._replace(
        tokens_BxKxC=now.tokens_BxKxC.at[:, :, now.step].set(end),
        log_probs_BxKxC=now.log_probs_BxKxC.at[:, :, now.step].set(log_probs_BxKxV[:, :, end]),
    )
    found = kept(with_end, totals_BxK, now.step + 1, alpha)
    return now._replace(text=found.text, best_B=found.best_B)


def kept(now: Progress, totals_BxK: Array, length: Array, alpha: Array | float) -> Progress:
    """Takes the best of the beams, of so many tokens, for the text if it has a higher score."""
    scores_BxK = totals_BxK / length_penalty(length, alpha)
    first_B = jnp.argmax(scores_BxK, axis=1)
    rows_B = jnp.arange(len(first_B))
    score_B = scores_BxK[rows_B, first_B]
    better_B = score_B > now.best_B
    text = Text(
        jnp.where(better_B[:, None], now.tokens_BxKxC[rows_B, first_B], now.text.tokens_BxC),
        jnp.where(better_B[:, None], now.log_probs_BxKxC[rows_B, first_B], now.text.log_probs_BxC),
        jnp.where(better_B, length, now.text.lengths_B),
        jnp.where(better_B, True, now.text.ended_B),
    )
    return now._replace(text=text, best_B=jnp.maximum(score_B, now.best_B))


def length_penalty(length: Array | int, alpha: Array | float) -> Array:
    """lp = ((5 + length) / 6)^alpha."""
    return ((5 + jnp.asarray(length, jnp.float32)) / 6) ** alpha
