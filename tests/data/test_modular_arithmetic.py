"""Division modulo a prime: every equation once, true, and in one split alone."""

import numpy as np
import pytest

from research.data import datasets
from research.errors import InputError


def rows(split, **options):
    arrays = datasets.load("modular_division", split, **options).arrays()
    return np.column_stack([arrays["inputs"], arrays["target"]])


def test_equations_are_true_and_each_stands_in_one_split():
    both = np.concatenate([rows("train", modulus=11), rows("test", modulus=11)])
    a, slash, b, equals, c = both.T
    assert (
        (a == b * c % 11).all() and (b > 0).all() and (slash == 11).all() and (equals == 12).all()
    )
    assert len(np.unique(both, axis=0)) == len(both) == 11 * 10


def test_the_papers_table_has_9312_equations():
    assert [len(rows(split)) for split in ("train", "test")] == [4656, 4656]
    assert len(rows("train", share=0.25)) == 2328


def test_a_draw_chooses_others():
    first, again, other = (rows("train", modulus=11, draw=draw) for draw in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert np.array_equal(np.unique(other, axis=0), other[np.lexsort(other.T[::-1])])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modulus": 9}, r"data\.modulus=9 is no prime"),
        ({"share": 1.0}, r"data\.share=1.0 leaves a split empty"),
        ({"draw": -1}, r"data\.draw is -1; 0 is the least"),
        ({"modulo": 7}, r"data\.modulo is unknown"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(InputError, match=message):
        rows("train", **options)
