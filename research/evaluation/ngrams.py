"""The trivial language models: what a token costs by its frequency, alone or after the last."""

import numpy as np
from jaxtyping import Int

CHUNK = 2**22  # training tokens counted at once, in some 150 MB


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
    pairs, times = np.unique(_pair(*test, vocabulary), return_counts=True)
    before, token = np.divmod(pairs, vocabulary)
    counts_V, before_V = np.ones(vocabulary, np.int64), np.zeros(vocabulary, np.int64)
    seen = np.zeros(len(pairs), np.int64)
    for start in range(0, len(train[1]), CHUNK):
        last, own = (tokens[start : start + CHUNK] for tokens in train)
        before_V += np.bincount(last, minlength=vocabulary)
        counts_V += np.bincount(own, minlength=vocabulary)
        found = _pair(last, own, vocabulary)
        place = np.minimum(np.searchsorted(pairs, found), len(pairs) - 1)
        seen += np.bincount(place[pairs[place] == found], minlength=len(pairs))
    alone = (counts_V / counts_V.sum())[token]
    after = (seen + alone) / (before_V[before] + 1)
    chances = {"unigram": alone, "bigram": after}
    return {name: float(np.average(-np.log(p), weights=times)) for name, p in chances.items()}


def _pair(before: np.ndarray, token: np.ndarray, vocabulary: int) -> np.ndarray:
    return before.astype(np.int64) * vocabulary + token
