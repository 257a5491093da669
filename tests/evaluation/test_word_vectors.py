"""Nearest words, analogies and rank correlations of vectors whose answers are known."""

import numpy as np
import pytest

from research.errors import InputError
from research.evaluation import word_vectors

# man, woman, king, queen, and a word near none of them; lengths must not matter.
VECTORS = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 1], [1, 1, 1], [-1, -1, -1]], np.float32)


def test_neighbours_go_by_the_cosine_and_leave_the_word_out():
    scaled = VECTORS * np.array([[1], [9], [1], [0.1], [5]])
    nearest, cosines = word_vectors.neighbours(scaled, np.array([3, 0]), 2)
    assert set(nearest[0]) == {1, 2} and set(nearest[1]) == {1, 2}
    np.testing.assert_allclose(cosines[0], 2 / np.sqrt(6), rtol=1e-5)


def test_analogies():
    """The wrong sum, a - b + c, points away: to what is opposite."""
    vectors = np.concatenate([VECTORS, [[1, -1, 1], [1, 1, -1]]]).astype(np.float32)
    questions = np.array([[0, 1, 2], [1, 0, 3], [0, 2, 1]])
    assert word_vectors.answers(vectors, questions).tolist() == [3, 2, 3]
    assert word_vectors.answers(vectors, questions[:0]).tolist() == []


def test_the_words_of_the_question_are_no_answer():
    """b - a + c is nearest to c itself where b is like a."""
    vectors = np.array([[1, 0], [1, 0.01], [0, 1], [0.3, 1]], np.float32)
    assert word_vectors.answers(vectors, np.array([[0, 1, 2]])).tolist() == [3]


def test_rank_correlation():
    pairs = np.array([[0, 1], [0, 3], [0, 4]])
    assert word_vectors.rank_correlation(VECTORS, pairs, [9.0, 3.0, 1.0]) == pytest.approx(1)
    assert word_vectors.rank_correlation(VECTORS, pairs, [1.0, 3.0, 9.0]) == pytest.approx(-1)


def test_no_word_is_its_own_neighbour():
    nearest, cosines = word_vectors.neighbours(np.array([[1.0, 0], [-1, 0.1]]), np.array([0]), 1)
    assert nearest.tolist() == [[1]] and cosines[0, 0] < -0.9
    for count in (2, 0):
        with pytest.raises(InputError, match=f"{count} neighbours were asked for"):
            word_vectors.neighbours(np.eye(2), np.array([0]), count)


def test_a_vector_of_zeros_is_near_nothing():
    assert np.array_equal(word_vectors.unit(np.zeros((1, 3))), np.zeros((1, 3)))
