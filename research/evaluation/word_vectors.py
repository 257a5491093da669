"""What word vectors know: nearest words, analogies by sums, and people's similarities."""

from collections.abc import Sequence

import numpy as np
import scipy
from jaxtyping import Float, Int

from research.errors import InputError

BATCH = 500


def unit(vectors: Float[np.ndarray, "V D"]) -> Float[np.ndarray, "V D"]:
    """Of norm 1, so that products are cosines; a vector of zeros stays one."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(norms > 0, norms, 1)


def neighbours(
    vectors: Float[np.ndarray, "V D"], words: Int[np.ndarray, "N"], count: int
) -> tuple[Int[np.ndarray, "N count"], Float[np.ndarray, "N count"]]:
    """The `count` words of the highest cosine with each of `words`, itself left out; and these.

    Raises InputError unless there are so many others.
    """
    if not 1 <= count < len(vectors):
        raise InputError(f"{count} neighbours were asked for; there are 1..{len(vectors) - 1}")
    units = unit(vectors)
    cosines = units[words] @ units.T
    cosines[np.arange(len(words)), words] = -np.inf
    nearest = np.argsort(-cosines, axis=1)[:, :count]
    return nearest, np.take_along_axis(cosines, nearest, axis=1)


def answers(
    vectors: Float[np.ndarray, "V D"], questions: Int[np.ndarray, "N 3"]
) -> Int[np.ndarray, "N"]:
    """To "a is to b as c is to ?" the word nearest to b - a + c that is none of the three.

    Of vectors of norm 1 and by cosines (1301.3781, section 4).
    """
    units = unit(vectors)
    found = [np.empty(0, int)]
    for start in range(0, len(questions), BATCH):
        some = questions[start : start + BATCH]
        a, b, c = (units[some[:, place]] for place in range(3))
        cosines = (b - a + c) @ units.T
        np.put_along_axis(cosines, some, -np.inf, axis=1)
        found.append(np.argmax(cosines, axis=1))
    return np.concatenate(found)


def rank_correlation(
    vectors: Float[np.ndarray, "V D"], pairs: Int[np.ndarray, "N 2"], similar: Sequence[float]
) -> float:
    """Spearman's, of the pairs' cosines and of how `similar` people find them."""
    units = unit(vectors)
    cosines = np.sum(units[pairs[:, 0]] * units[pairs[:, 1]], axis=1)
    return float(scipy.stats.spearmanr(cosines, similar).statistic)
