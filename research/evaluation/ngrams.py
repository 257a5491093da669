"""The trivial language models: what a token costs by its frequency, alone or after the last."""

import numpy as np
from jaxtyping import Int


def ngram_nats(
    train: tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]],
    test: tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"]],
    *,
    vocabulary: int,
) -> dict[str, float]:
    """`unigram` and `bigram`, nats a token of the test's.

    `train` and `test` are (the token before, the token) of every token that counts. Frequencies are
    the training's with one more of each token; those after a token are mixed with the unigrams as
    if one token more had been seen there (a Dirichlet prior; MacKay and Peto 1995).
    """
    counts_V = np.bincount(train[1], minlength=vocabulary) + 1
    unigram_V = counts_V / counts_V.sum()
    pairs, times = np.unique(_pair(*train, vocabulary), return_counts=True)
    before_V = np.bincount(train[0], minlength=vocabulary)
    wanted = _pair(*test, vocabulary)
    place = np.minimum(np.searchsorted(pairs, wanted), len(pairs) - 1)
    seen = np.where(pairs[place] == wanted, times[place], 0)
    alone = unigram_V[test[1]]
    after = (seen + alone) / (before_V[test[0]] + 1)
    return {"unigram": float(-np.log(alone).mean()), "bigram": float(-np.log(after).mean())}


def _pair(before: np.ndarray, token: np.ndarray, vocabulary: int) -> np.ndarray:
    return before.astype(np.int64) * vocabulary + token
