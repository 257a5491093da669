"""Emoji stand on white, and the split takes one in five of each label."""

import numpy as np
import PIL.Image

from research.data import builders, datasets

# Begins the hash of the training images; painters that were trained on others are void.
TRAINING = "18c31bca289834bf"


def test_a_transparent_picture_stands_on_white(tmp_path):
    picture = np.zeros((64, 64, 4), np.uint8)
    picture[:32, :, 0], picture[:32, :, 3] = 200, 255  # red above, nothing below
    PIL.Image.fromarray(picture).save(tmp_path / "emoji.png")
    shown = builders._on_white(tmp_path / "emoji.png")
    assert shown.shape == (16, 16, 3)
    np.testing.assert_array_equal(shown[:8], np.broadcast_to([200, 0, 0], (8, 16, 3)))
    np.testing.assert_array_equal(shown[8:], 255)


def test_the_split_is_stratified_and_leaves_none_out():
    labels = np.repeat(np.arange(3), [10, 20, 30])
    images = np.broadcast_to(np.arange(60, dtype=np.uint8)[:, None, None, None], (60, 2, 2, 3))
    made = builders._split(images, labels, *builders._stratified(labels))
    parts = {name: list(split) for name, split in made.items()}
    found = {
        name: [int(np.asarray(e["image"])[0, 0, 0]) for _, e in part]
        for name, part in parts.items()
    }
    assert sorted(found["train"] + found["test"]) == list(range(60))
    assert np.bincount([e["label"] for _, e in parts["test"]]).tolist() == [2, 4, 6]


def test_no_test_image_stands_in_training():
    """Nine flags and families are drawn as others are; training has all it had before."""
    train, test = (datasets.load("emoji", split).arrays()["image"] for split in ("train", "test"))
    assert len(train) == 1528 and len(test) == 383 - 9
    assert not {image.tobytes() for image in train} & {image.tobytes() for image in test}
    assert datasets.load("emoji", "train").fingerprint.startswith(TRAINING)
