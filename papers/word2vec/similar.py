"""Whether near vectors are of similar words: by people's judgement, and by a dictionary's kinds."""

import collections
import functools
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from research.data import word_questions, wordnet
from research.evaluation import word_vectors

NEAR_RANKS = 50  # a word is as frequent as another of so many ranks before or behind it


def agreement(vectors: Float[np.ndarray, "V D"], ids: Mapping[str, int]) -> float:
    """Spearman's correlation of cosines with WordSim-353's scores, of pairs whose words are known;
    0 expected of vectors that know nothing."""
    asked = word_questions.similarities("wordsim353")
    known = [row for row in asked if row.first in ids and row.second in ids]
    pairs = np.array([(ids[row.first], ids[row.second]) for row in known])
    return word_vectors.rank_correlation(vectors, pairs, [row.score for row in known])


def same_kind(
    vectors: Float[np.ndarray, "V D"], ids: Mapping[str, int], seed: int
) -> tuple[float, float]:
    """How often a noun's nearest noun is of its kind, such as animal or food, and how often one is
    at random that is as frequent as the nearest.

    Of nouns of one kind alone, by `ids` in the order of their frequency.
    """
    kinds = noun_kinds()
    nouns = sorted((word for word in ids if len(kinds.get(word, ())) == 1), key=ids.__getitem__)
    kind = np.array([min(kinds[word]) for word in nouns])
    chosen = vectors[[ids[word] for word in nouns]]
    nearest, _ = word_vectors.neighbours(chosen, np.arange(len(nouns)), 1)
    others = as_frequent(nearest[:, 0], np.random.default_rng(seed), len(nouns))
    return float(np.mean(kind[nearest[:, 0]] == kind)), float(np.mean(kind[others] == kind))


def as_frequent(
    ranks: Int[np.ndarray, "N"], rng: np.random.Generator, count: int
) -> Int[np.ndarray, "N"]:
    """Another rank of 0..count - 1 for each, at most `NEAR_RANKS` away."""
    shift = rng.integers(1, min(NEAR_RANKS, count // 2), size=len(ranks), endpoint=True)
    shift *= rng.choice([-1, 1], size=len(ranks))
    inside = (ranks + shift >= 0) & (ranks + shift < count)
    return np.where(inside, ranks + shift, ranks - shift)


@functools.cache
def noun_kinds() -> Mapping[str, set[int]]:
    """The lexicographers' files of the nouns that a word may be."""
    kinds: dict[str, set[int]] = collections.defaultdict(set)
    for synset in wordnet.synsets():
        if synset.speech == "noun":
            for word in synset.words:
                kinds[word.lower()].add(synset.category)
    return kinds
