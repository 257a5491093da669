"""Speculative decoding: a small model drafts a few tokens, the large one judges them at once."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from kernels import sampling
from research.sampling.decoding.filters import Filters, distribution, draw_from
from research.sampling.decoding.model import (
    Cache,
    Decoder,
    Params,
    Prompts,
    Text,
    append,
    blank,
    prefill,
    unfinished,
)


class Progress(NamedTuple):
    """The text; each row's last token, and how many came before it, which both caches hold."""

    text: Text
    last_B: Int32[Array, " B"]
    counts_B: Int32[Array, " B"]
    round: Int32[Array, ""]


class Models(NamedTuple):
    """What is wanted of the target, and the draft that proposes it."""

    target: Decoder
    draft: Decoder


@functools.partial(jax.jit, static_argnames=("models", "capacity"))
def start(
    models: Models, params: tuple[Params, Params], prompts: Prompts, *, capacity: int
) -> tuple[tuple[Cache, Cache], Progress]:
    """Reads the prompts but for their last tokens."""
    counts_B = prompts.counts_B - 1
    before = Prompts(prompts.tokens_BxP, counts_B)
    _, target = prefill(models.target, params[0], before, capacity)
    _, draft = prefill(models.draft, params[1], before, capacity)
    rows_B = jnp.arange(len(counts_B))
    return (target, draft), Progress(
        blank(len(counts_B), capacity),
        prompts.tokens_BxP[rows_B, counts_B],
        counts_B,
        jnp.int32(0),
    )


@functools.partial(
    jax.jit,
    static_argnames=("models", "filters", "draft_tokens"),
    donate_argnames=("caches", "progress"),
)
def advance(
    models: Models,
    filters: Filters,
    params: tuple[Params, Params],
    caches: tuple[Cache, Cache],
    progress: Progress,
    rng: Array,
    *,
    draft_tokens: int,
    end: Array | int,
    until: Array | int,
    new_tokens: Array | int,
) -> tuple[tuple[Cache, Cache], Progress]:
    """Writes until each row has `until` tokens or has ended, `new_tokens` at most.

    Rounds of algorithm 1 of 2211.17192: the draft proposes x_1..x_g of q, the target's p judges all
    of them in one pass, x_i stays with probability min(1, p / q), and after the last that stays one
    more token is drawn, of max(0, p - q) normalised where a token was refused, else of p. What is
    written has the target's distribution, p and q being what the filters leave. A row near its
    limit drafts fewer, so that nothing is read that could not be written.
    """

    def one_round(
        carry: tuple[tuple[Cache, Cache], Progress],
    ) -> tuple[tuple[Cache, Cache], Progress]:
        (target, draft), now = carry
        round_rng = jax.random.fold_in(rng, now.round)
        batch = len(now.last_B)
        rows_B = jnp.arange(batch)
        going_B = unfinished(now.text, new_tokens)
        drafted_B = jnp.minimum(draft_tokens, new_tokens - now.text.lengths_B - 1)
        read_B = jnp.where(going_B, drafted_B + 1, 0)

        proposed_BxG, q_BxGxV, draft = propose(
            models.draft, filters, draft_tokens, params[1], draft, now.last_B, read_B, round_rng
        )
        read_BxN = jnp.concatenate([now.last_B[:, None], proposed_BxG], axis=1)
        hidden, target = models.target.extend(params[0], target, read_BxN, read_B)
        logits = models.target.logits(params[0], hidden).reshape(batch * (draft_tokens + 1), -1)
        p_BxNxV = distribution(logits, filters).reshape(batch, draft_tokens + 1, -1)

        accepted_B = count_accepted(p_BxNxV, q_BxGxV, proposed_BxG, drafted_B, round_rng)
        q_BxV = q_BxGxV[rows_B, jnp.minimum(accepted_B, draft_tokens - 1)]
        refused_Bx1 = (accepted_B < drafted_B)[:, None]
        rest_BxV = residual(p_BxNxV[rows_B, accepted_B], jnp.where(refused_Bx1, q_BxV, 0))
        token_B = draw_from(rest_BxV, jax.random.fold_in(round_rng, draft_tokens + 1))

        written_BxN = jnp.pad(proposed_BxG, ((0, 0), (0, 1))).at[rows_B, accepted_B].set(token_B)
        log_probs_BxN = sampling.log_probs(logits, written_BxN.reshape(-1)).reshape(batch, -1)
        wrote_B = jnp.where(going_B, accepted_B + 1, 0)
        counts_B = now.counts_B + wrote_B
        caches = rewound(models.target, target, counts_B), rewound(models.draft, draft, counts_B)
        return caches, Progress(
            append(now.text, written_BxN, log_probs_BxN, wrote_B, end),
            jnp.where(going_B, token_B, now.last_B),
            counts_B,
            now.round + 1,
        )

    def going(carry: tuple[tuple[Cache, Cache], Progress]) -> Array:
        return jnp.any(unfinished(carry[1].text, until))

    return jax.lax.while_loop(going, one_round, (caches, progress))


def propose(
    decoder: Decoder,
    filters: Filters,
    draft_tokens: int,
    params: Params,
    cache: Cache,
    last_B: Array,
    read_B: Array,
    rng: Array,
) -> tuple[Int32[Array, "B G"], Float[Array, "B G V"], Cache]:
    """The draft's tokens, the distributions they were drawn from, and its cache.

    It reads the last token and all proposals, the last of them for the case that it stays.
    """

    def read(cache: Cache, token_B: Array, i: Array | int) -> tuple[Array, Cache]:
        counts_B = (i < read_B).astype(jnp.int32)
        hidden, cache = decoder.extend(params, cache, token_B[:, None], counts_B)
        return hidden[:, 0], cache

    def step(carry: tuple[Cache, Array], i: Array) -> tuple[tuple[Cache, Array], tuple]:
        cache, token_B = carry
        hidden_BxD, cache = read(cache, token_B, i)
        q_BxV = distribution(decoder.logits(params, hidden_BxD), filters)
        token_B = draw_from(q_BxV, jax.random.fold_in(rng, i))
        return (cache, token_B), (token_B, q_BxV)

    (cache, token_B), (tokens_GxB, q_GxBxV) = jax.lax.scan(
        step, (cache, last_B), jnp.arange(draft_tokens)
    )
    _, cache = read(cache, token_B, draft_tokens)
    return tokens_GxB.T, jnp.moveaxis(q_GxBxV, 0, 1), cache


def count_accepted(
    p_BxNxV: Array, q_BxGxV: Array, proposed_BxG: Array, drafted_B: Array, rng: Array
) -> Int32[Array, " B"]:
    """How many proposals stay: x_i, if those before do, with probability min(1, p / q)."""
    batch, count = proposed_BxG.shape
    p_BxG, q_BxG = (
        jnp.take_along_axis(probs[:, :count], proposed_BxG[..., None], axis=2)[..., 0]
        for probs in (p_BxNxV, q_BxGxV)
    )
    keys = jax.vmap(jax.random.fold_in, (None, 0))(
        jax.random.fold_in(rng, count), jnp.arange(batch)
    )
    uniform_BxG = jax.vmap(lambda key: jax.random.uniform(key, (count,)))(keys)
    stays_BxG = (uniform_BxG * q_BxG < p_BxG) & (jnp.arange(count) < drafted_B[:, None])
    return jnp.sum(jnp.cumprod(stays_BxG, axis=1), axis=1, dtype=jnp.int32)


def residual(p_BxV: Array, q_BxV: Array) -> Array:
    """max(0, p - q), not normalised; p itself where rounding leaves nothing of the difference."""
    rest_BxV = jnp.maximum(p_BxV - q_BxV, 0)
    return jnp.where(jnp.any(rest_BxV > 0, axis=1, keepdims=True), rest_BxV, p_BxV)


def rewound(decoder: Decoder, cache: Cache, lengths_B: Array) -> Cache:
    assert decoder.rewind is not None  # asked before the start
    return decoder.rewind(cache, lengths_B)
