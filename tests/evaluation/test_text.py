"""Scores of texts against values by hand."""

import pytest

from research.evaluation.text import bleu, distinct, ends_in_a_loop, repetition, rouge, self_bleu


def test_rouge_by_hand():
    """Of "the cat sat" and "the cats ran far": two of 3 and of 4 words, one of 2 and of 3 pairs."""
    found = rouge(["the cat sat"], ["the cats ran far"])  # words are stemmed
    f1 = {"rouge1": 2 * 2 / 7, "rouge2": 2 * 1 / 5, "rougeL": 2 * 2 / 7}
    assert found == pytest.approx(f1)
    assert rouge(["b a"], ["a b"])["rougeL"] == 0.5 < rouge(["b a"], ["a b"])["rouge1"] == 1
    assert rouge(["a b", "x"], ["a b", "y"])["rougeL"] == 0.5
    with pytest.raises(ValueError):
        rouge(["a"], ["a", "b"])


def test_bleu_by_hand():
    """Precisions 4/5, 3/4, 2/3 and 1/2 of one length: their geometric mean."""
    expected = 100 * (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25
    assert bleu(["a b c d e"], ["a b c d f"]) == pytest.approx(expected)
    assert bleu(["a b c d"], ["a b c d e"]) == pytest.approx(100 * 2.718281828 ** (-1 / 4))


def test_distinct_counts_over_all_texts():
    assert distinct(["a b a b", "a b"], 1) == pytest.approx(2 / 6)
    assert distinct(["a b a b", "a b"], 2) == pytest.approx(2 / 4)
    assert distinct(["a"], 2) == 0


def test_a_loop_is_a_phrase_three_times_at_the_end():
    assert ends_in_a_loop(["so", "a", "b", "a", "b", "a", "b"])
    assert not ends_in_a_loop(["a", "b", "a", "b", "a", "b", "so"])
    assert not ends_in_a_loop(["so", "a", "b", "a", "b"])
    assert ends_in_a_loop(["a", "b", "c", "a", "b", "c", "a", "b", "c"])
    assert not ends_in_a_loop(["a", "a", "a"]) and ends_in_a_loop(["a", "a", "a", "a", "a", "a"])
    assert repetition(["x y x y x y", "x y"]) == 0.5


def test_self_bleu_from_alike_to_apart():
    alike, apart = ["a b c d e"] * 3, ["a b c d e", "f g h i j", "k l m n o"]
    assert self_bleu(alike) == pytest.approx(100) and self_bleu(apart) < 10
    assert self_bleu(["a b"]) == 0
