"""The claims of word embeddings: pairs counted by hand, their optimum, and what fails a claim."""

import math

import numpy as np
import pytest

from papers import ledger
from papers.word2vec import claims as paper
from papers.word2vec import optimum, similar
from research.data.tokenizers import train

ALL = {claim.id.split(".")[1]: claim for claim in paper.CLAIMS}


TOKENIZER = train("word", ["a"], None)


def test_information_is_of_pairs_against_their_margins():
    made = optimum.Pairs(np.array([[0.4, 0.1], [0.0, 0.5]]), 10, TOKENIZER)
    expected = [[math.log(2), math.log(1 / 3)], [-math.inf, math.log(5 / 3)]]
    np.testing.assert_allclose(made.information(), expected)


@pytest.mark.parametrize("negatives", [1, 5])
def test_the_optimum_is_shifted_information(negatives):
    table = np.random.default_rng(0).integers(5, 100, (6, 6))
    made = optimum.Pairs(table / table.sum(), int(table.sum()), TOKENIZER)
    scores = optimum.optimum(made, 0, negatives=negatives)
    np.testing.assert_allclose(scores, made.information() - math.log(negatives), atol=1e-4)
    assert optimum.error(scores, made.information(), made) == pytest.approx(
        math.log(negatives), abs=1e-4
    )


def judged(claim, *measurements):
    return ledger.judge(ALL[claim], measurements).name


def test_only_the_shifted_information_passes():
    right = {"error": 1e-5, "unshifted_error": math.log(5), "permuted_error": 0.9}
    assert judged("optimum", right, right, right) == "REPRODUCED"
    assert judged("optimum", right, right, right | {"error": 0.01}) == "FAILED"
    # Where nothing is learned all answers are as wrong, where all words are independent all right.
    assert judged("optimum", *[right | {"permuted_error": 0.0}] * 3) == "FAILED"


def test_similarity_must_be_beyond_chance_in_both_ways():
    def seed(agreement, kind, noise):
        return {
            "agreement": agreement + noise,
            "agreement_untrained": noise,
            "same_kind": kind + noise,
            "same_kind_as_frequent": 0.1,
        }

    noises = (-0.01, 0, 0.01)
    assert judged("similarity", *[seed(0.3, 0.4, x) for x in noises]) == "DIRECTION HOLDS"
    assert judged("similarity", *[seed(0.0, 0.4, x) for x in noises]) == "FAILED"
    assert judged("similarity", *[seed(0.3, 0.1, x) for x in noises]) == "FAILED"


def test_analogies_must_beat_the_nearest_word_and_stay_below_300_dimensions():
    right = {"gain": 40.0, "to_300": 20.0}
    for changed, verdict in {
        (): "DIRECTION HOLDS",
        (("gain", 1.0),): "FAILED",
        (("to_300", -1.0),): "FAILED",
    }.items():
        assert judged("glove_analogies", *[right | dict(changed)] * 3) == verdict


def test_a_random_word_is_another_and_about_as_frequent():
    ranks = np.repeat(np.arange(200), 50)
    others = similar.as_frequent(ranks, np.random.default_rng(0), 200)
    assert (others >= 0).all() and (others < 200).all()
    assert (np.abs(others - ranks) <= 50).all() and (others != ranks).all()


def test_nouns_of_one_kind(monkeypatch):
    """The nearest of each noun is of its kind here; `run` is of two kinds and left out."""
    kinds = {"dog": {1}, "cat": {1}, "oak": {2}, "elm": {2}, "run": {1, 2}}
    monkeypatch.setattr(similar, "noun_kinds", lambda: kinds)
    vectors = np.array([[1, 0.1], [1, 0], [0.1, 1], [0, 1], [0.7, 0.7]], np.float32)
    ids = {"dog": 0, "cat": 1, "oak": 2, "elm": 3, "run": 4}
    same, _ = similar.same_kind(vectors, ids, seed=0)
    assert same == 1
    monkeypatch.setattr(similar, "noun_kinds", lambda: kinds | {"cat": {2}})
    assert similar.same_kind(vectors, ids, seed=0)[0] == 0.5
