"""The Frechet distance against closed forms."""

import numpy as np
import pytest
import scipy.linalg

from research.errors import InputError
from research.evaluation.frechet import frechet_distance


def with_moments(mean, covariance, *, count=50, seed=0):
    """Rows whose sample mean and unbiased covariance are exactly these."""
    z = np.random.default_rng(seed).normal(size=(count, len(mean)))
    z = np.linalg.qr(z - z.mean(axis=0))[0] * np.sqrt(count - 1)
    return np.asarray(mean) + z @ np.linalg.cholesky(covariance).T


def test_gaussians_of_diagonal_covariance():
    one = with_moments([0.0, 1.0, 2.0], np.diag([1.0, 4.0, 9.0]))
    other = with_moments([1.0, 1.0, 0.0], np.diag([4.0, 4.0, 1.0]), seed=1)
    # |mu_1 - mu_2|^2 = 1 + 4 and sum (s_1 - s_2)^2 = 1 + 0 + 4.
    assert frechet_distance(one, other) == pytest.approx(10, rel=1e-12)


def test_covariances_that_do_not_commute():
    a, b = (np.random.default_rng(seed).normal(size=(4, 4)) for seed in (2, 3))
    one_cov, other_cov = a @ a.T + np.eye(4), b @ b.T + np.eye(4)
    root = scipy.linalg.sqrtm(one_cov @ other_cov).real
    expected = np.trace(one_cov + other_cov - 2 * root)
    one, other = with_moments(np.zeros(4), one_cov), with_moments(np.zeros(4), other_cov, seed=1)
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-9)


def test_zero_for_equal_sets_even_of_low_rank():
    x = np.random.default_rng(0).normal(size=(10, 30)) * 1000
    assert frechet_distance(x, x) <= 1e-12 * np.sum(x**2)
    constant = np.zeros((5, 3), np.float32)
    assert frechet_distance(constant, constant + 2) == pytest.approx(12)


def test_invariances():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 5)), rng.normal(1, 2, size=(60, 5))
    rotation = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    distance = frechet_distance(x, y)
    assert frechet_distance(y, x) == pytest.approx(distance)
    assert frechet_distance(x[::-1], y) == pytest.approx(distance)
    assert frechet_distance(x @ rotation + 7, y @ rotation + 7) == pytest.approx(distance)
    assert frechet_distance(3 * x, 3 * y) == pytest.approx(9 * distance)


def test_one_row_has_no_covariance():
    with pytest.raises(InputError, match="two feature vectors"):
        frechet_distance(np.zeros((1, 3)), np.zeros((5, 3)))
