"""Words beside their contexts: the pairs that skip-gram reads, and the counts that GloVe reads."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy
from jaxtyping import Bool, Float, Int

from research.data import corpora, encoding, text_pairs
from research.data.corpora import Part
from research.data.examples import InMemory
from research.data.text_sets import Tokenized
from research.data.tokenizers import Tokenizer
from research.errors import InputError, check_least

SPLITS = ("train", "test")
Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class WordSet(Tokenized):
    """`word` and `context`, int32 (), and of co-occurrences `count`, float32 ().

    `counts` (V,) is how often each token stands in the training split: 0 for the special ones.
    """

    counts: Int[np.ndarray, "V"]

    def traits(self) -> dict[str, Any]:
        return super().traits() | {"counts": self.counts}


@dataclasses.dataclass(frozen=True)
class Words:
    """A split's words in their order, and of which document each is; special tokens are left out,
    and words that the tokenizer does not know, so that their neighbours are next to each other."""

    tokens: Int[np.ndarray, "n"]
    documents: Int[np.ndarray, "n"]

    def kept(self, keep: Bool[np.ndarray, "n"]) -> "Words":
        return Words(self.tokens[keep], self.documents[keep])

    def at(self, distance: int) -> Int[np.ndarray, "m"]:
        """The places of words that have another of their document so far behind them."""
        return np.flatnonzero(self.documents[:-distance] == self.documents[distance:])


def load_pairs(
    name: str,
    split: str,
    files: pathlib.Path | None = None,
    *,
    corpus: str,
    vocabulary_size: int,
    window: int = 5,
    subsample: float | None = None,
) -> WordSet:
    """The split's pairs of a word and one within its window, for skip-gram (1310.4546).

    `corpus` is a set of `corpora.documents`, or one of `text_pairs.PAIRS`, each pair a document;
    all is read in lower case. A word of a share f of the training split is dropped with probability
    1 - sqrt(subsample / f) (eq. 5) before the windows are laid; a window's radius is drawn from
    1..`window` (1301.3781, section 3.2). Both draws are the same at every call.

    Raises:
      InputError: the corpus cannot be had, an option has no such value, or there is no pair.
    """
    check_least(1, **{"data.window": window})
    if subsample is not None and subsample <= 0:
        raise InputError(f"data.subsample is {subsample}; it must be above 0")
    words, tokenizer, counts, fingerprint = _read(corpus, split, vocabulary_size, files)
    rng = np.random.default_rng(SPLITS.index(split))
    if subsample is not None:
        words = words.kept(
            rng.random(len(words.tokens)) < keep_chances(counts, subsample)[words.tokens]
        )
    arrays = pairs(words, rng.integers(1, window, size=len(words.tokens), endpoint=True))
    after = "" if subsample is None else f", after subsampling at {subsample}"
    _check_any(arrays, corpus, split, vocabulary_size, after)
    return WordSet(
        name=name,
        split=split,
        fingerprint=encoding.key(fingerprint, "pairs", window, subsample),
        source=InMemory(arrays),
        tokenizer=tokenizer,
        counts=counts,
    )


def load_cooccurrences(
    name: str,
    split: str,
    files: pathlib.Path | None = None,
    *,
    corpus: str,
    vocabulary_size: int,
    window: int = 10,
) -> WordSet:
    """The split's pairs of words that stand within a window, each once, with their `count`.

    A word d places from another counts 1/d (GloVe, section 4.2). Counts of the test split are
    scaled to the training split's number of words. `corpus` is as `load_pairs` has it.

    Raises:
      InputError: the corpus cannot be had, an option has no such value, or there is no pair.
    """
    check_least(1, **{"data.window": window})
    words, tokenizer, counts, fingerprint = _read(corpus, split, vocabulary_size, files)
    arrays = cooccurrences(words, window=window, vocabulary=tokenizer.size)
    _check_any(arrays, corpus, split, vocabulary_size)
    arrays["count"] *= np.float32(counts.sum() / len(words.tokens))
    return WordSet(
        name=name,
        split=split,
        fingerprint=encoding.key(fingerprint, "cooccurrences", window),
        source=InMemory(arrays),
        tokenizer=tokenizer,
        counts=counts,
    )


def keep_chances(counts: Int[np.ndarray, "V"], subsample: float) -> Float[np.ndarray, "V"]:
    """min(1, sqrt(subsample / f)) of each word, f its share of all (1310.4546, eq. 5)."""
    return np.minimum(np.sqrt(subsample * counts.sum() / np.maximum(counts, 1)), 1)


def pairs(words: Words, radius: Int[np.ndarray, "n"]) -> Arrays:
    """Every word with every other within its own radius, on both sides, in its document."""
    nothing = np.empty(0, np.int32)
    found = [(nothing, nothing)]
    for distance in range(1, min(int(radius.max(initial=0)), len(words.tokens) - 1) + 1):
        left = words.at(distance)
        right = left + distance
        for center, other in ((left, right), (right, left)):
            near = radius[center] >= distance
            found.append((words.tokens[center[near]], words.tokens[other[near]]))
    word, context = (np.concatenate(part) for part in zip(*found, strict=True))
    return {"word": word.astype(np.int32), "context": context.astype(np.int32)}


def cooccurrences(words: Words, *, window: int, vocabulary: int) -> Arrays:
    """`count`, the sum of 1/distance over the places within the window on both sides, if not 0."""
    table = scipy.sparse.csr_array((vocabulary, vocabulary), dtype=np.float32)
    for distance in range(1, min(window, len(words.tokens) - 1) + 1):
        left = words.at(distance)
        ends = words.tokens[left], words.tokens[left + distance]
        weight = np.full(len(left), 1 / distance, np.float32)
        one_side = scipy.sparse.coo_array((weight, ends), shape=table.shape).tocsr()
        table = table + one_side + one_side.T
    entries = table.tocoo()
    word, context = (axis.astype(np.int32) for axis in entries.coords)
    return {"word": word, "context": context, "count": entries.data}


def _check_any(arrays: Arrays, corpus: str, split: str, size: int, after: str = "") -> None:
    if not len(arrays["word"]):
        raise InputError(
            f"{corpus} has no two of the {size} words in one document of its {split} split{after}"
        )


def _read(
    corpus: str, split: str, vocabulary_size: int, files: pathlib.Path | None
) -> tuple[Words, Tokenizer, Int[np.ndarray, "V"], str]:
    """The split's words, their tokenizer, the training split's counts, and a key of them all."""
    tokenizer = encoding.tokenizer(
        "word", vocabulary_size, files=files, training=lambda: _lower(corpus, "train")
    )
    special = (tokenizer.pad, tokenizer.end, tokenizer.mask, tokenizer.unknown)
    left_out = [token for token in special if token is not None]

    def words(part: Part[str]) -> Words:
        tokens, ends, _ = encoding.stream(part, tokenizer)
        documents = np.searchsorted(ends, np.arange(len(tokens)), side="right")
        return Words(tokens, documents).kept(~np.isin(tokens, left_out))

    train = words(_lower(corpus, "train"))
    part = _lower(corpus, split)
    counts = np.bincount(train.tokens, minlength=tokenizer.size)
    key = encoding.key(part.fingerprint, tokenizer.fingerprint, counts.tolist())
    return (train if split == "train" else words(part)), tokenizer, counts, key


def _lower(corpus: str, split: str) -> Part[str]:
    if corpus in text_pairs.PAIRS:
        both = text_pairs.pairs(corpus, split)
        return _mapped(both, lambda pair: f"{pair[0]}: {pair[1]}".lower())
    return _mapped(corpora.documents(corpus, split), str.lower)


def _mapped[Item](part: Part[Item], change: Callable[[Item], str]) -> Part[str]:
    fingerprint = encoding.key(part.fingerprint, "lower case")
    return Part(fingerprint, lambda: (change(item) for item in part.read()))


WORD_SETS: dict[str, Callable[..., WordSet]] = {
    "word_pairs": load_pairs,
    "cooccurrences": load_cooccurrences,
}
