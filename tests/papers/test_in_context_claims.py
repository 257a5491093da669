"""In-context regression's claims: what simple predictors err by, and what fails the claim."""

import numpy as np
import pytest

from papers import ledger
from papers.in_context_regression import claims as paper
from papers.in_context_regression import curve
from research.data import datasets

(CLAIM,) = paper.CLAIMS


@pytest.fixture(scope="module")
def others():
    return curve.of_others(datasets.load("linear_functions", "test").arrays())


def test_least_squares_know_the_function_after_d_examples(others):
    assert others["least_squares"][0] == pytest.approx(others["zero"][0])
    np.testing.assert_allclose(others["least_squares"][5:], 0, atol=1e-6)
    # Each of the first d examples tells one of d directions.
    expected = 1 - np.arange(5) / 5
    np.testing.assert_allclose(others["least_squares"][:5], expected, atol=0.1)


def test_other_predictors_err_as_they_must(others):
    """Of averaging n examples E |w_n - w|^2 = |w|^2 (d + 1) / n, by the fourth moment of x."""
    np.testing.assert_allclose(others["zero"], 1, atol=0.15)
    assert others["zero"].mean() == pytest.approx(1, abs=0.04)
    assert others["averaging"][10] == pytest.approx(6 / 10, rel=0.15)


def judged(*errors, untold=1.0):
    found = [
        {
            "transformer": error,
            "averaging": 0.6 + noise,
            "zero": 1 + noise,
            "above_least_squares": error,
            "transformer_at_0": untold,
        }
        for error, noise in zip(errors, (-0.01, 0, 0.01), strict=True)
    ]
    return ledger.judge(CLAIM, found).name


def test_a_transformer_must_be_near_least_squares():
    assert judged(0.01, 0.02, 0.03) == "DIRECTION HOLDS"
    assert judged(0.01, 0.02, 0.06) == "FAILED"
    assert judged(0.6, 0.6, 0.6) == "FAILED"


def test_who_sees_the_answer_fails():
    assert judged(1e-6, 1e-6, 1e-6, untold=1e-6) == "FAILED"
