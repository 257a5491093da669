"""The kernel distance against its definition, and that it has no bias where Frechet's has."""

import numpy as np
import pytest

from research.errors import InputError
from research.evaluation import kernel_distance as module
from research.evaluation.frechet import frechet_distance
from research.evaluation.kernel_distance import kernel_distance


def test_definition():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 3)), rng.normal(size=(7, 3))

    def kernel(a, b):
        return (a @ b / 3 + 1) ** 3

    def within(z):
        return np.mean([kernel(a, b) for i, a in enumerate(z) for j, b in enumerate(z) if i != j])

    between = np.mean([kernel(a, b) for a in x for b in y])
    expected = within(x) + within(y) - 2 * between
    assert kernel_distance(x, y) == pytest.approx(expected, rel=1e-12)


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 3)), rng.normal(size=(30, 3))
    whole = kernel_distance(x, y)
    monkeypatch.setattr(module, "BLOCK", 7)
    assert kernel_distance(x, y) == pytest.approx(whole, rel=1e-12)


def test_unbiased_at_any_count_where_frechet_is_not():
    rng = np.random.default_rng(0)
    frechet = {}
    for count in (10, 80):
        pairs = [rng.normal(size=(2, count, 4)) for _ in range(400)]
        kernel = [kernel_distance(x, y) for x, y in pairs]
        standard_error = np.std(kernel) / np.sqrt(len(kernel))
        assert abs(np.mean(kernel)) < 4 * standard_error
        frechet[count] = np.mean([frechet_distance(x, y) for x, y in pairs])
    assert frechet[10] > 4 * frechet[80] > 0


def test_same_mean_for_every_count_when_the_sets_differ():
    rng = np.random.default_rng(1)
    means, errors = [], []
    for count in (10, 80):
        draws = [
            kernel_distance(rng.normal(size=(count, 3)), rng.normal(0.5, 1, size=(count, 3)))
            for _ in range(400)
        ]
        means.append(np.mean(draws))
        errors.append(np.std(draws) / 20)
    assert abs(means[0] - means[1]) < 4 * np.hypot(*errors)
    assert means[1] > 10 * errors[1]


def test_one_row_has_no_pairs():
    with pytest.raises(InputError, match="two rows"):
        kernel_distance(np.zeros((5, 3)), np.zeros((1, 3)))
