"""`generate` and `stream`: the public way to every strategy."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Key

from research.errors import InputError, check_choice, check_least, nearest
from research.sampling.decoding.model import Decoder, Params, Text, Tokens
from research.sampling.decoding.strategies import STRATEGIES, Session, Task

NO_END = -1


class Continuation(NamedTuple):
    """What follows each prompt: N tokens at most, the end token among them if it came.

    Beyond a row's length tokens and log-probabilities are 0. A token's log-probability is the
    model's own, log softmax(logits), whatever was then filtered, penalised or refused; with
    guidance it is that of the guided logits.
    """

    tokens_BxN: np.ndarray
    lengths_B: np.ndarray
    log_probs_BxN: np.ndarray


def generate(
    decoder: Decoder,
    params: Params,
    prompts: Sequence[Tokens],
    rng: Key[Array, ""],
    *,
    new_tokens: int,
    strategy: str = "nucleus",
    end: int | None = None,
    **settings: Any,
) -> Continuation:
    """Continues each prompt by at most `new_tokens` tokens, up to the token `end`.

    STRATEGIES names the strategies and their settings. Prompts are read in one pass, then all rows
    are written in one compiled loop that stops when all have ended. A row's draws depend on `rng`
    and the row's index, not on other rows. `prompts.py` says for which lengths programs are
    compiled.

    Raises:
      InputError: an unknown strategy or setting, or a setting out of its range; a prompt that is
        empty, has an unknown token, or is too long with its continuation.
    """
    task = Task(decoder, params, prompts, rng, new_tokens, NO_END if end is None else end)
    session = begin(task, strategy, settings)
    _, progress = session.advance(session.state, new_tokens)
    return on_host(progress.text, new_tokens)


def stream(
    decoder: Decoder,
    params: Params,
    prompts: Sequence[Tokens],
    rng: Key[Array, ""],
    *,
    new_tokens: int,
    strategy: str = "nucleus",
    end: int | None = None,
    block: int = 8,
    **settings: Any,
) -> Iterator[list[np.ndarray]]:
    """`generate` as it comes: for every `block` tokens, what each row has more, maybe nothing.

    The tokens are those of `generate`, and so are the errors. Beam search knows its text only at
    the end and raises one. A strategy that writes several tokens at once may be ahead of the block.
    """
    check_least(1, block=block)
    if strategy == "beam":
        raise InputError("beam search can't be streamed: it knows its text only at the end")
    task = Task(decoder, params, prompts, rng, new_tokens, NO_END if end is None else end)
    return blocks(begin(task, strategy, settings), new_tokens, block)


def begin(task: Task, strategy: str, settings: Mapping[str, Any]) -> Session:
    """Starts the strategy of that name."""
    check_choice("strategy", strategy, STRATEGIES)
    if not NO_END <= task.end < task.decoder.vocabulary:
        raise InputError(
            f"end is {task.end}; the model's tokens are below {task.decoder.vocabulary}"
        )
    defaults = STRATEGIES[strategy].settings
    for name in settings:
        if name not in defaults:
            raise InputError(f"{strategy} takes no setting {name!r}; {nearest(name, defaults)}")
    return STRATEGIES[strategy].begin(task, **{**defaults, **settings})


def blocks(session: Session, new_tokens: int, block: int) -> Iterator[list[np.ndarray]]:
    state, before_B, finished = session.state, np.zeros(0, np.int32), False
    for until in range(block, new_tokens + block, block):
        if finished:
            return
        state = session.advance(state, min(until, new_tokens))
        found = on_host(state[1].text, new_tokens)
        before_B = before_B if len(before_B) else np.zeros_like(found.lengths_B)
        spans = zip(found.tokens_BxN, before_B, found.lengths_B, strict=True)
        more = [tokens_N[first:last] for tokens_N, first, last in spans]
        if any(map(len, more)):
            yield more
        before_B = found.lengths_B
        finished = bool(np.all(state[1].text.ended_B | (before_B == new_tokens)))


def on_host(text: Text, new_tokens: int) -> Continuation:
    """Copies, for the device's arrays are given to the next block."""
    tokens_BxC, log_probs_BxC, lengths_B, _ = (np.array(array) for array in text)
    diverged_B = np.any(np.isnan(log_probs_BxC), axis=1)
    if np.any(diverged_B):
        raise InputError(f"prompt {np.argmax(diverged_B)}: the model's logits are not finite")
    return Continuation(tokens_BxC[:, :new_tokens], lengths_B, log_probs_BxC[:, :new_tokens])
