"""Texts written token by token: what methods that do so share."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from research.data.tokenizers import Tokenizer
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


def continued(
    decoder: Decoder,
    params: Any,
    texts: Sequence[Sequence[int]],
    rng: Rng,
    *,
    block: int,
    **given: Any,
) -> Iterator[list[np.ndarray]]:
    """`decoding.stream`, and of a search, which knows its text at the end, all at once."""
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
    before = ""
    for (more,) in parts:
        tokens.extend(more)
        # Half a character is shown when its other bytes have come.
        now = text(tokens).rstrip("\ufffd")
        yield now[len(before) :]
        before = now


def pattern(regex: str, tokenizer: Tokenizer) -> Automaton:
    """What writes texts that match the regular expression, whole, and then end."""
    texts = decoding.token_texts(tokenizer.decode, tokenizer.size)
    return decoding.regular_expression(regex, texts, tokenizer.end)
