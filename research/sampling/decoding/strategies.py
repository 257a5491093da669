"""The strategies by name: each checks its settings and starts a session that writes on."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Key

from research.errors import InputError, check_finite, check_least
from research.sampling.decoding import beam, contrastive, sampler, speculative
from research.sampling.decoding.automata import Automaton
from research.sampling.decoding.filters import Filters, check
from research.sampling.decoding.model import Decoder, Params, Tokens, unfinished
from research.sampling.decoding.prompts import capacities, padded
from research.sampling.decoding.prompts import check as check_prompts

GUIDANCE = 1.5  # of negative prompts without a scale
MOST_PENALTY = 7.0  # the length penalty of a million tokens is a float32 still


class Task(NamedTuple):
    """What every strategy is given; `end` is -1 where no token ends a text."""

    decoder: Decoder
    params: Params
    prompts: Sequence[Tokens]
    rng: Key[Array, ""]
    new_tokens: int
    end: int


class Session(NamedTuple):
    """A strategy under way. Its state is a cache and its progress, of which one part is a `Text`.

    advance(state, until): the state after each row has `until` tokens or has ended; it takes the
      given one's memory.
    """

    state: tuple[Any, Any]
    advance: Callable[[tuple[Any, Any], int], tuple[Any, Any]]


@dataclasses.dataclass(frozen=True)
class Strategy:
    """How it begins, and its settings' defaults; those of None must be given or are not used."""

    begin: Callable[..., Session]
    settings: Mapping[str, Any]


def sampled(
    task: Task,
    *,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float,
    constraint: Automaton | None,
    negative_prompts: Sequence[Tokens] | None,
    guidance: float | None,
) -> Session:
    """Draws token by token, or takes the likeliest (temperature 0)."""
    decoder, params, prompts, rng, new_tokens, end = task
    filters = Filters(temperature, top_k, top_p, min_p)
    check(filters, decoder.vocabulary)
    check_finite(repetition_penalty=repetition_penalty)
    if repetition_penalty <= 0:
        raise InputError(f"repetition_penalty is {repetition_penalty}; it must be above 0")
    if constraint is not None:
        check_constraint(task, constraint)
    if negative_prompts is not None:
        if len(negative_prompts) != len(prompts):
            given = f"{len(negative_prompts)} negative prompts for {len(prompts)} prompts"
            raise InputError(f"there are {given}; give one for each")
        check_prompts(decoder, prompts, new_tokens)
        check_prompts(decoder, negative_prompts, new_tokens, named="negative prompt")
        guidance = GUIDANCE if guidance is None else guidance
        check_finite(guidance=guidance)
        pairs = zip(prompts, negative_prompts, strict=True)
        prompts = [prompt for pair in pairs for prompt in pair]
    elif guidance is not None:
        raise InputError("guidance needs a negative prompt for each prompt")

    settings = sampler.Settings(filters, float(repetition_penalty), guidance)
    read, whole = padded(decoder, prompts, new_tokens)
    longest = int(read.counts_B.max())
    sizes = [whole] if decoder.grow is None else capacities(longest, whole)
    start = decoder, settings, params, read, constraint
    state = sampler.start(*start, capacity=sizes[0], written=whole)

    def advance(state: tuple[Any, Any], until: int) -> tuple[Any, Any]:
        cache, progress = state
        for size in sizes:
            stop = until if size == whole else min(until, size - longest)
            if not bool(jnp.any(unfinished(progress.text, stop))):
                continue
            if decoder.grow is not None:
                cache = decoder.grow(cache, size)
            lengths = {"end": end, "until": stop, "new_tokens": new_tokens}
            call = decoder, settings, params, constraint, cache, progress, rng
            cache, progress = sampler.advance(*call, **lengths)
        return cache, progress

    return Session(state, advance)


def check_constraint(task: Task, constraint: Automaton) -> None:
    if len(constraint.class_V) != task.decoder.vocabulary:
        raise InputError(
            f"the constraint is over {len(constraint.class_V)} tokens; "
            f"the model has {task.decoder.vocabulary}"
        )
    if constraint.end != task.end:
        raise InputError(f"the constraint's end token is {constraint.end}, not end={task.end}")
    shortest = int(constraint.far_S[constraint.start])
    if shortest > task.new_tokens:
        raise InputError(
            f"the constraint's shortest text has {shortest} tokens; new_tokens is {task.new_tokens}"
        )


def beam_searched(task: Task, *, beams: int, length_penalty: float) -> Session:
    """The whole search is the session's first step."""
    decoder, params, prompts, _, new_tokens, end = task
    check_least(1, beams=beams)
    if not 0 <= length_penalty <= MOST_PENALTY:
        raise InputError(f"length_penalty is {length_penalty}; it must be from 0 to {MOST_PENALTY}")
    read, capacity = padded(decoder, prompts, new_tokens)
    state = beam.start(decoder, params, read, beams=beams, capacity=capacity)
    settings = {"alpha": float(length_penalty), "end": end, "new_tokens": new_tokens}
    return Session(state, lambda state, _: beam.search(decoder, params, *state, **settings))


def contrasted(task: Task, *, top_k: int | None, alpha: float) -> Session:
    """Deterministic: `rng` is not used."""
    decoder, params, prompts, _, new_tokens, end = task
    if top_k is None:
        raise InputError("contrastive needs top_k, how many tokens it compares")
    check(Filters(top_k=top_k), decoder.vocabulary)
    if not 0 <= alpha <= 1:
        raise InputError(f"alpha is {alpha}; it must be from 0 to 1")
    read, capacity = padded(decoder, prompts, new_tokens)
    state = contrastive.start(decoder, params, read, top_k=top_k, capacity=capacity)

    def advance(state: tuple[Any, Any], until: int) -> tuple[Any, Any]:
        settings = {"top_k": top_k, "alpha": float(alpha), "end": end, "until": until}
        return contrastive.advance(decoder, params, *state, **settings)

    return Session(state, advance)


def speculated(
    task: Task,
    *,
    draft: Decoder | None,
    draft_params: Params,
    draft_tokens: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    min_p: float | None,
) -> Session:
    """The target is the task's decoder."""
    target, params, prompts, rng, new_tokens, end = task
    if draft is None or draft_params is None:
        raise InputError("speculative needs draft, a decoder, and draft_params")
    if draft.vocabulary != target.vocabulary:
        sizes = f"{draft.vocabulary} and {target.vocabulary}"
        raise InputError(f"draft and model must have one vocabulary; theirs have {sizes} tokens")
    if target.rewind is None or draft.rewind is None:
        raise InputError("speculative needs models that can rewind; a recurrent one can't")
    check_least(1, draft_tokens=draft_tokens)
    filters = Filters(temperature, top_k, top_p, min_p)
    check(filters, target.vocabulary)
    padded(draft, prompts, new_tokens)
    read, capacity = padded(target, prompts, new_tokens)
    models, both = speculative.Models(target, draft), (params, draft_params)
    state = speculative.start(models, both, read, capacity=min(capacity, draft.length))

    def advance(state: tuple[Any, Any], until: int) -> tuple[Any, Any]:
        lengths = {"end": end, "until": until, "new_tokens": new_tokens}
        return speculative.advance(
            models, filters, both, *state, rng, draft_tokens=draft_tokens, **lengths
        )

    return Session(state, advance)


SHAPED = {
    "repetition_penalty": 1.0,
    "constraint": None,
    "negative_prompts": None,
    "guidance": None,
}
FILTERED = {"temperature": 1.0, "top_k": None, "top_p": None, "min_p": None}
DRAFT = {"draft": None, "draft_params": None, "draft_tokens": 4}
STRATEGIES = {
    "greedy": Strategy(sampled, SHAPED),
    "temperature": Strategy(sampled, {"temperature": 1.0, **SHAPED}),
    "top_k": Strategy(sampled, {"top_k": 40, "temperature": 1.0, **SHAPED}),
    "nucleus": Strategy(sampled, {"top_p": 0.95, "temperature": 1.0, **SHAPED}),
    "min_p": Strategy(sampled, {"min_p": 0.1, "temperature": 1.0, **SHAPED}),
    "beam": Strategy(beam_searched, {"beams": 4, "length_penalty": 0.6}),
    "contrastive": Strategy(contrasted, {"top_k": 5, "alpha": 0.6}),
    "speculative": Strategy(speculated, DRAFT | FILTERED),
}
