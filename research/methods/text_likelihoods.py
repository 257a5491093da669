"""How likely texts are after others, many at a time, by a model's cost of each token."""

import math
from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from research.data.examples import Dataset
from research.data.text_sets import TextSet
from research.errors import InputError
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
    all (B, T + 1) with T of at most `length`: of a longer prompt the last tokens are seen.

    Raises:
      InputError: a text alone exceeds the context.
    """
    longest = max(len(text) for _, text in pairs)
    if longest > length:
        raise InputError(f"a text has {longest} tokens, and the model's context is {length}")
    rows = [[*prompt, *text][-length - 1 :] for prompt, text in pairs]
    width = max(map(len, rows))
    found = []
    for first in range(0, len(rows), ROWS):
        some = slice(first, first + ROWS)
        nats_BxT = np.asarray(per_token(framed(rows[some], ROWS, width)))
        for nats_T, row, (_, text) in zip(nats_BxT, rows[some], pairs[some], strict=False):
            end = len(row) - 1
            found.append(-float(nats_T[end - len(text) : end].sum()))
    return np.array(found)


def ngrams(train: Dataset, test: Dataset) -> dict[str, dict[str, float]]:
    """`loss`, nats a token, and `bits_per_byte` of the training split's unigrams and bigrams.

    By metric and model, as `Method.trivial` has them; both are text sets.
    """
    assert isinstance(train, TextSet) and isinstance(test, TextSet)
    transitions = train.transitions(), test.transitions()
    nats = ngram_nats(*transitions, vocabulary=train.tokenizer.size)
    bits = {name: loss / math.log(2) / test.bytes_per_token for name, loss in nats.items()}
    return {"loss": nats, "bits_per_byte": bits}


def framed(rows: Sequence[Sequence[int]], count: int, width: int) -> Batch:
    """A batch of `count` rows of one segment, filled up on the right and below."""
    tokens = np.zeros((count, width), np.int32)
    segments = np.zeros_like(tokens)
    for i, row in enumerate(rows):
        tokens[i, : len(row)], segments[i, : len(row)] = row, 1
    positions = np.broadcast_to(np.arange(width, dtype=np.int32), tokens.shape)
    fields = {"tokens": tokens, "positions": positions, "segments": segments}
    return {name: jnp.asarray(array) for name, array in fields.items()}
