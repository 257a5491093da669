"""Unigrams and bigrams: counted by hand, and on chains whose entropy is known."""

import math

import numpy as np
import pytest

from research.evaluation import ngrams
from research.evaluation.ngrams import ngram_nats


def transitions(tokens):
    tokens = np.asarray(tokens, np.int32)
    return tokens[:-1], tokens[1:]


def test_counted_by_hand():
    """Training 0 1 1: counts of 3 tokens, one more of each, are 1, 3, 1; after 1 is 1 once."""
    nats = ngram_nats(transitions([0, 1, 1]), transitions([1, 2]), vocabulary=3)
    assert nats["unigram"] == pytest.approx(-math.log(1 / 5))
    assert nats["bigram"] == pytest.approx(-math.log((0 + 1 / 5) / (1 + 1)))
    seen = ngram_nats(transitions([0, 1, 1]), transitions([1, 1]), vocabulary=3)
    assert seen["bigram"] == pytest.approx(-math.log((1 + 3 / 5) / 2))


@pytest.mark.parametrize("vocabulary", [2, 7])
def test_the_chances_of_all_tokens_are_one(vocabulary):
    rng = np.random.default_rng(0)
    train = transitions(rng.integers(vocabulary, size=50))
    for name in ("unigram", "bigram"):
        for before in range(vocabulary):
            chances = [
                math.exp(-ngram_nats(train, transitions([before, x]), vocabulary=vocabulary)[name])
                for x in range(vocabulary)
            ]
            assert sum(chances) == pytest.approx(1)


def test_counting_by_parts_is_counting_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    train, test = (transitions(rng.integers(9, size=size)) for size in (500, 90))
    whole = ngram_nats(train, test, vocabulary=9)
    monkeypatch.setattr(ngrams, "CHUNK", 7)
    assert ngram_nats(train, test, vocabulary=9) == whole


def test_a_chain_costs_its_entropy():
    """Each token is the last one with probability 0.9: H = 0.325 nats, and ln 2 for unigrams."""
    rng = np.random.default_rng(0)
    tokens = np.cumsum(rng.random(200_000) < 0.1) % 2
    half = len(tokens) // 2
    nats = ngram_nats(transitions(tokens[:half]), transitions(tokens[half:]), vocabulary=2)
    assert nats["bigram"] == pytest.approx(-0.9 * math.log(0.9) - 0.1 * math.log(0.1), abs=0.005)
    assert nats["unigram"] == pytest.approx(math.log(2), abs=0.005)
