"""The one loop of greedy decoding and of sampling, whatever filters, penalty or constraint."""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32

from kernels import sampling
from research.sampling.decoding import filters
from research.sampling.decoding.automata import Automaton, allowed, following
from research.sampling.decoding.filters import Filters
from research.sampling.decoding.guidance import guided, paired
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


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a program is compiled for; without `guidance` there is no negative prompt."""

    filters: Filters
    repetition_penalty: float
    guidance: float | None


class Progress(NamedTuple):
    """The text, and what the next token is drawn from."""

    text: Text
    logits_BxV: Float[Array, "B V"]
    seen_BxV: Bool[Array, "B V"] | None  # tokens of prompt and text, where they are penalised
    states_B: Int32[Array, " B"] | None  # of the automaton
    step: Int32[Array, ""]


@functools.partial(jax.jit, static_argnames=("decoder", "settings", "capacity", "written"))
def start(
    decoder: Decoder,
    settings: Settings,
    params: Params,
    prompts: Prompts,
    constraint: Automaton | None,
    *,
    capacity: int,
    written: int,
) -> tuple[Cache, Progress]:
    """Reads the prompts; with guidance each is followed by its negative prompt.

    The cache has a capacity, and the texts have room for `written` tokens.
    """
    hidden, cache = prefill(decoder, params, prompts, capacity)
    hidden = last(hidden, prompts.counts_B)
    if settings.guidance is not None:
        decoder, hidden = guided(decoder, settings.guidance), paired(hidden)
        prompts = Prompts(prompts.tokens_BxP[::2], prompts.counts_B[::2])
    batch = len(prompts.counts_B)
    return cache, Progress(
        blank(batch, written),
        decoder.logits(params, hidden),
        None if settings.repetition_penalty == 1 else tokens_of(prompts, decoder.vocabulary),
        None if constraint is None else jnp.full(batch, constraint.start, jnp.int32),
        jnp.int32(0),
    )


@functools.partial(
    jax.jit, static_argnames=("decoder", "settings"), donate_argnames=("cache", "progress")
)
def advance(
    decoder: Decoder,
    settings: Settings,
    params: Params,
    constraint: Automaton | None,
    cache: Cache,
    progress: Progress,
    rng: Array,
    *,
    end: Array | int,
    until: Array | int,
    new_tokens: Array | int,
) -> tuple[Cache, Progress]:
    """Writes until each row has `until` tokens or has ended; `new_tokens` is the limit of all.

    Step t draws with `rng` folded with t: stops between steps change no draw.
    """
    if settings.guidance is not None:
        decoder = guided(decoder, settings.guidance)

    def step(carry: tuple[Cache, Progress]) -> tuple[Cache, Progress]:
        cache, now = carry
        logits = now.logits_BxV
        if now.seen_BxV is not None:
            # An end ends the text and repeats nothing, though an empty prompt is one.
            repeats_BxV = now.seen_BxV & (jnp.arange(decoder.vocabulary) != end)
            logits = penalised(logits, repeats_BxV, settings.repetition_penalty)
        if constraint is not None and now.states_B is not None:
            allowed_BxV = allowed(constraint, now.states_B, new_tokens - now.step - 1)
            # After its end token a row has none: whatever is drawn there is not kept.
            logits = jnp.where(allowed_BxV | now.text.ended_B[:, None], logits, -jnp.inf)
        drawn = filters.draw(logits, jax.random.fold_in(rng, now.step), settings.filters)
        tokens_B, log_probs_B = drawn.tokens_B, sampling.log_probs(now.logits_BxV, drawn.tokens_B)
        text = append(now.text, tokens_B[:, None], log_probs_B[:, None], ones(tokens_B), end)
        states_B = now.states_B
        if constraint is not None and states_B is not None:
            states_B = following(constraint, states_B, tokens_B)
        going_B = (~text.ended_B).astype(jnp.int32)
        hidden, cache = decoder.extend(params, cache, tokens_B[:, None], going_B)
        return cache, Progress(
            text,
            decoder.logits(params, hidden[:, 0]),
            None if now.seen_BxV is None else now.seen_BxV.at[rows(tokens_B), tokens_B].set(True),
            states_B,
            now.step + 1,
        )

    def going(carry: tuple[Cache, Progress]) -> Array:
        return jnp.any(unfinished(carry[1].text, until))

    return jax.lax.while_loop(going, step, (cache, progress))


def penalised(
    logits_BxV: Float[Array, "B V"], seen_BxV: Bool[Array, "B V"], penalty: float
) -> Float[Array, "B V"]:
    """Logits of tokens seen before made smaller by a factor (CTRL, 1909.05858, section 4.1).

    The paper divides by the penalty, which would raise a negative logit: that is multiplied by it.
    """
    smaller_BxV = jnp.where(logits_BxV > 0, logits_BxV / penalty, logits_BxV * penalty)
    return jnp.where(seen_BxV, smaller_BxV, logits_BxV)


def tokens_of(prompts: Prompts, vocabulary: int) -> Bool[Array, "B V"]:
    """Which tokens a prompt has."""
    batch, size = prompts.tokens_BxP.shape
    real_BxP = jnp.arange(size) < prompts.counts_B[:, None]
    seen_BxV = jnp.zeros((batch, vocabulary), bool)
    return seen_BxV.at[jnp.arange(batch)[:, None], prompts.tokens_BxP].max(real_BxP)


def rows(tokens_B: Array) -> Array:
    return jnp.arange(len(tokens_B))


def ones(tokens_B: Array) -> Array:
    return jnp.ones(len(tokens_B), jnp.int32)
