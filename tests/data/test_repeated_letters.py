"""Letters that repeat: different ones within a period, the same after it."""

import collections
import itertools

import numpy as np
import pytest

from research.data import datasets
from research.errors import InputError


def load(split, **options):
    return datasets.load("repeated_letters", split, **options)


def test_a_test_row_says_25_letters_four_times():
    tokens = load("test").arrays()["tokens"]
    assert tokens.shape == (500, 101)
    np.testing.assert_array_equal(tokens[:, 25:], tokens[:, :-25])
    assert all(len(set(row[:25])) == 25 for row in tokens.tolist())
    assert len(np.unique(tokens)) == 26
    assert len(np.unique(tokens[:, :25], axis=0)) == 500


def test_training_rows_go_round_cycles_of_5_to_25_and_jump_one_time_in_five():
    tokens = load("train").arrays()["tokens"]
    different = np.array([len(set(row)) for row in tokens.tolist()])
    assert different.max() == 25 and different.min() == 5
    assert np.mean(different == 5) == pytest.approx(1 / 21, abs=0.01)
    kept = np.mean([usual_share(row) for row in tokens[different == 5][:200].tolist()])
    assert kept == pytest.approx(0.8 + 0.2 / 5, abs=0.02)


def usual_share(row):
    """How often a letter is followed by what follows it most often."""
    pairs = collections.Counter(itertools.pairwise(row))
    most = {}
    for (letter, _), count in pairs.items():
        most[letter] = max(count, most.get(letter, 0))
    return sum(most.values()) / (len(row) - 1)


def test_rows_are_texts():
    data = load("test", length=12, period=5)
    text = data.tokenizer.decode(data.arrays()["tokens"][0])
    assert len(text) == 13 and text[:5] == text[5:10] and text[10:] == text[:3]


def test_all_of_every_row_is_counted():
    for split, rows in (("train", 20_000), ("test", 500)):
        before, after = load(split, length=12).transitions()
        assert len(before) == len(after) == rows * 12


def test_a_length_of_none():
    with pytest.raises(InputError, match=r"data\.length is 0; 1 is the least"):
        load("train", length=0)


@pytest.mark.parametrize("period", [4, 27])
def test_bad_periods(period):
    with pytest.raises(InputError, match=rf"data\.period={period} must lie in 5\.\.26"):
        load("train", period=period)
