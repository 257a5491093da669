"""How likely texts are after others, many at a time, by a model's cost of each token."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from research.data.examples import Dataset
from research.data.text_sets import TextSet
from research.evaluation.ngrams import ngram_nats
from research.training.types import Batch

ROWS = 64  # a batch


def log_likelihoods(
    per_token: Callable[[Batch], Float[Array, "B T"]],
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]],
    *,
    length: int,
) -> Float[np.ndarray, " N"]:
    """ln p(text | prompt) of each (prompt, text) of tokens; a prompt has one or more.

    `per_token` gives the nats of each token but the first of `tokens`, `positions` and `segments`,
    all (B, T + 1) with T of at most `length`: of a longer prompt the last tokens are seen. A text
    of more than the context is read in stretches of its half, each after what is before it.
    """
    parts = [
        (pair, [*prompt, *text[:stop]][-length - 1 :], stop - start)
        for pair, (prompt, text) in enumerate(pairs)
        for start, stop in stretches(len(text), length)
    ]
    width = max((len(row) for _, row, _ in parts), default=0)
    found = np.zeros(len(pairs))
    for first in range(0, len(parts), ROWS):
        some = parts[first : first + ROWS]
        nats_BxT = np.asarray(per_token(framed([row for _, row, _ in some], ROWS, width)))
        for nats_T, (pair, row, count) in zip(nats_BxT, some, strict=False):
            end = len(row) - 1
            found[pair] -= float(nats_T[end - count : end].sum())
    return found


def stretches(size: int, length: int) -> list[tuple[int, int]]:
    """Where the parts of a text of `size` tokens begin and end; none of an empty one."""
    step = length if size <= length else max(length // 2, 1)
    return [(start, min(start + step, size)) for start in range(0, size, step)]


def ngrams(train: Dataset, test: Dataset) -> dict[str, dict[str, float]]:
    """`by_unit` of the training split's unigrams and bigrams.

    By metric and model, as `Method.trivial` has them; both are text sets.
    """
    assert isinstance(train, TextSet) and isinstance(test, TextSet)
    transitions = train.transitions(), test.transitions()
    nats = ngram_nats(*transitions, vocabulary=train.tokenizer.size)
    found = by_unit(np.array(list(nats.values())), test.bytes_per_token)
    return {unit: dict(zip(nats, values.tolist(), strict=True)) for unit, values in found.items()}


def by_unit(nats: Any, bytes_per_token: float | None) -> dict[str, Any]:
    """`loss`, nats a token, and `bits_per_byte` of text, where tokens tell all of its bytes."""
    if bytes_per_token is None:
        return {"loss": nats}
    return {"loss": nats, "bits_per_byte": nats / math.log(2) / bytes_per_token}


def framed(rows: Sequence[Sequence[int]], count: int, width: int) -> Batch:
    """A batch of `count` rows of one segment, filled up on the right and below."""
    tokens = np.zeros((count, width), np.int32)
    segments = np.zeros_like(tokens)
    for i, row in enumerate(rows):
        tokens[i, : len(row)], segments[i, : len(row)] = row, 1
    positions = np.broadcast_to(np.arange(width, dtype=np.int32), tokens.shape)
    fields = {"tokens": tokens, "positions": positions, "segments": segments}
    return {name: jnp.asarray(array) for name, array in fields.items()}
