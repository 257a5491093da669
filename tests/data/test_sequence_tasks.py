"""Sequence tasks: what their examples are, that they repeat, and bad lengths and splits."""

import numpy as np
import pytest

from research.data import datasets
from research.errors import InputError


def test_the_adding_problem_asks_for_the_sum_of_two_marked_numbers():
    data = datasets.load("adding", "test", length=30)
    inputs, target = data.arrays()["inputs"], data.arrays()["target"]
    assert inputs.shape == (1000, 30, 2) and inputs.dtype == target.dtype == np.float32
    numbers, marks = inputs[..., 0], inputs[..., 1]
    assert set(np.unique(marks)) == {0, 1}
    np.testing.assert_array_equal(marks.sum(1), 2)
    np.testing.assert_allclose((numbers * marks).sum(1), target, atol=1e-6)
    assert numbers.min() >= 0 and numbers.max() < 1
    # Each step is marked as often as another: 2 of 30 times.
    assert np.abs(marks.mean(0) - 2 / 30).max() < 4 * np.sqrt(2 / 30 / 1000)


@pytest.mark.parametrize("length", [2, 50])
def test_copying_asks_for_the_first_ten_symbols_at_the_end(length):
    data = datasets.load("copy_memory", "test", length=length)
    inputs, targets = data.arrays()["inputs"][..., 0], data.arrays()["targets"]
    assert inputs.shape == targets.shape == (1000, length + 20)
    assert set(np.unique(inputs[:, :10])) == set(range(1, 9))
    assert not inputs[:, 10 : length + 9].any()
    assert (inputs[:, length + 9 :] == 9).all() and inputs.shape[1] - (length + 9) == 11
    assert not targets[:, :-10].any()
    np.testing.assert_array_equal(targets[:, -10:], inputs[:, :10])


def test_sizes_are_the_papers():
    assert len(datasets.load("adding", "train", length=4)) == 50_000
    assert len(datasets.load("copy_memory", "train", length=4)) == 10_000


@pytest.mark.parametrize("name", ["adding", "copy_memory"])
def test_examples_repeat_and_are_others_in_another_split_or_length(name):
    def fingerprint(split, length):
        return datasets.load(name, split, length=length).fingerprint

    first = fingerprint("test", 9)
    assert first == fingerprint("test", 9)
    assert first not in (fingerprint("train", 9), fingerprint("test", 10))
    train, test = (datasets.load(name, split, length=9) for split in ("train", "test"))
    assert not np.array_equal(train.arrays()["inputs"][:1000], test.arrays()["inputs"])


def test_a_bad_split_or_length_is_one_clear_line():
    with pytest.raises(InputError, match="adding has no split 'tset'; nearest: test"):
        datasets.load("adding", "tset")
    with pytest.raises(InputError, match="length=1 of copy_memory is too short; 2 is the least"):
        datasets.load("copy_memory", "test", length=1)


def test_linear_functions_have_their_values_a_step_later_among_the_inputs():
    arrays = datasets.load("linear_functions", "test", length=8).arrays()
    inputs, targets = arrays["inputs"], arrays["targets"]
    assert inputs.shape == (2000, 8, 6) and targets.shape == (2000, 8)
    np.testing.assert_array_equal(inputs[:, 1:, 5], targets[:, :-1])
    assert not inputs[:, 0, 5].any()
    x = inputs[..., :5].astype(np.float64)
    w = np.linalg.pinv(x) @ targets[..., None]
    np.testing.assert_allclose((x @ w)[..., 0], targets, atol=1e-3)
    np.testing.assert_allclose(np.cov(w[..., 0].T), np.eye(5), atol=0.15)


def test_sequential_mnist_is_mnist_row_after_row():
    data, images = datasets.load("sequential_mnist", "test"), datasets.load("mnist", "test")
    inputs, pixels = data.arrays()["inputs"], images.arrays()["image"]
    assert inputs.shape == (10_000, 784, 1) and inputs.dtype == np.float32
    expected = (pixels[7] / 255 - 0.1307) / 0.3081
    np.testing.assert_allclose(inputs[7].reshape(28, 28, 1), expected, rtol=1e-6)
    np.testing.assert_array_equal(data.arrays()["target"], images.arrays()["label"])
    assert data.traits() == {"channels": 1, "outputs": 10}
    train = datasets.load("sequential_mnist", "train").arrays()["inputs"]
    assert abs(train.mean()) < 1e-3 and abs(train.std() - 1) < 1e-3


def test_sequential_mnist_has_no_options_and_two_splits():
    with pytest.raises(InputError, match="length is unknown"):
        datasets.load("sequential_mnist", "test", length=20)
    with pytest.raises(InputError, match="mnist has no split 'tset'; nearest: test"):
        datasets.load("sequential_mnist", "tset")
