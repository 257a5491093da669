"""Texts written token by token: what methods that do so share."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int32

from research.data.tokenizers import Tokenizer
from research.errors import InputError
from research.sampling import decoding
from research.sampling.decoding import Decoder
from research.sampling.decoding.automata import Automaton
from research.training.types import Rng

BLOCK = 8  # tokens that a stream shows at once
# Of `sample`'s arguments those that strategies take.
SETTINGS = (
    *("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "beams", "length_penalty"),
    *("alpha", "regex", "negative_prompt", "guidance"),
)
# Settings of strategies that have another name among those arguments.
OPTIONS = {"constraint": "regex", "negative_prompts": "negative_prompt"}


def taken(strategy: str) -> set[str]:
    """Those of `SETTINGS` that the strategy takes; none of an unknown one."""
    known = decoding.STRATEGIES.get(strategy)
    return {OPTIONS.get(setting, setting) for setting in (known.settings if known else ())}


def check_one_text(network: Any) -> None:
    """Raises InputError for a network that reads another text beside the one it tells."""
    if hasattr(network, "target_length") or getattr(network, "cross", False):
        raise InputError("the network must read one text: no encoder_decoder, and no cross=True")


def continued(
    decoder: Decoder,
    params: Any,
    texts: Sequence[Sequence[int]],
    rng: Rng,
    *,
    block: int,
    **given: Any,
) -> Iterator[list[np.ndarray]]:
    """`decoding.stream`, and of a search, which knows its text at the end, all at once.

    Raises InputError as it does, and for an option of `sample` that the strategy does not take.
    """
    for setting in sorted(given.keys() - {"strategy", "new_tokens", "end"}):
        takers = [name for name, s in decoding.STRATEGIES.items() if setting in s.settings]
        if given["strategy"] in {*decoding.STRATEGIES} - {*takers}:
            option = OPTIONS.get(setting, setting)
            raise InputError(f"{given['strategy']} takes no {option}; {', '.join(takers)} do")
    call = decoder, params, texts, rng
    if given["strategy"] != "beam":
        yield from decoding.stream(*call, block=block, **given)
        return
    found = decoding.generate(*call, **given)
    rows = zip(found.tokens_BxN, found.lengths_B, strict=True)
    yield [tokens[:length] for tokens, length in rows]


def gathered(parts: Iterable[Sequence[Sequence[int]]], count: int) -> list[list[int]]:
    """The tokens of each of `count` texts, of which every part has more."""
    rows: list[list[int]] = [[] for _ in range(count)]
    for more in parts:
        for row, tokens in zip(rows, more, strict=True):
            row.extend(tokens)
    return rows


def shown(
    parts: Iterable[Sequence[Sequence[int]]], text: Callable[[Sequence[int]], str]
) -> Iterator[str]:
    """What each part of one text's tokens adds to it, as `text` reads them."""
    tokens: list[int] = []
    before = now = ""
    for (more,) in parts:
        tokens.extend(more)
        # Half a character is shown when its other bytes have come, or nothing more does.
        now = text(tokens)
        whole = now.rstrip("\ufffd")
        yield whole[len(before) :]
        before = whole
    if rest := now[len(before) :]:
        yield rest


def headed(head: str, pieces: Iterator[str]) -> Iterator[str]:
    """`head` and the pieces; an error of the first, which no head should stand before, alone."""
    first = next(pieces)
    yield head
    yield first
    yield from pieces


def around_gaps(tokenizer: Tokenizer, prompt: str, gap: str) -> list[Int32[np.ndarray, "n"]]:
    """The tokens of a prompt's parts, before, between and after its gaps.

    A blank before a gap is of what fills it where words carry the blank before them: there blanks
    are seldom alone, and seldom before a word.
    """
    *before, last = prompt.split(gap)
    if tokenizer.has_blanks_in_words:
        before = [part.removesuffix(" ") for part in before]
    return [tokenizer.encode(part) for part in (*before, last)]


def context(tokenizer: Tokenizer, prompt: str) -> list[int]:
    """The prompt's tokens, after which what is written is read; none where it is read by itself.

    So it is after no text, and after white space that the tokenizer drops, as one of words does,
    which would write a blank of its own.
    """
    ids = tokenizer.encode(prompt).tolist()
    kept = prompt[-1:].isspace() == tokenizer.decode(ids)[-1:].isspace()
    return ids if kept else []


def added(tokenizer: Tokenizer, before: Sequence[int], tokens: Sequence[int]) -> str:
    """What the tokens add to the text of those before them, such as a blank between two words."""
    start, whole = (tokenizer.decode(ids) for ids in (before, [*before, *tokens]))
    # Bytes of one character may lie on both sides.
    return whole.removeprefix(start) if whole.startswith(start) else tokenizer.decode(tokens)


def pattern(regex: str, tokenizer: Tokenizer, before: Sequence[int] = ()) -> Automaton:
    """What adds to the text of those tokens one that matches the expression, whole, and ends."""
    decode, size = tokenizer.decode, tokenizer.size
    texts = decoding.token_texts(decode, size)
    first = texts if len(before) else decoding.first_texts(decode, size)
    return decoding.regular_expression(regex, texts, tokenizer.end, first=first)
