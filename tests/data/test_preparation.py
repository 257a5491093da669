"""TFDS's own sets, prepared from an archive served here, without TensorFlow."""

import functools
import http.server
import tarfile
import threading

import numpy as np
import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.core import constants
from tensorflow_datasets.image_classification import cifar

from research.data import datasets, image_sets
from research.errors import InputError

ADDRESS: list[str] = []


class ServedCifar(cifar.Cifar10):
    """TFDS's CIFAR-10 with two examples a file and another address."""

    @property
    def _cifar_info(self):
        return super()._cifar_info._replace(url=ADDRESS[-1])


@pytest.fixture
def tfds_home(tmp_path, monkeypatch):
    monkeypatch.setenv("ATELIER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "DATA_DIR", str(tmp_path / "tfds"))


@pytest.fixture
def served_images(tmp_path):
    """The images of the archive that is served, uint8 (12, 32, 32, 3); label i % 10."""
    images = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3)).astype(np.uint8)
    folder = tmp_path / "served" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    (folder / "batches.meta.txt").write_text("\n".join(f"class {k}" for k in range(10)))
    names = [f"data_batch_{k}.bin" for k in range(1, 6)] + ["test_batch.bin"]
    for k, name in enumerate(names):
        rows = [
            bytes([i % 10]) + images[i].transpose(2, 0, 1).tobytes() for i in (2 * k, 2 * k + 1)
        ]
        (folder / name).write_bytes(b"".join(rows))
    with tarfile.open(tmp_path / "served" / "cifar.tar.gz", "w:gz") as archive:
        archive.add(folder, "cifar-10-batches-bin")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ADDRESS.append(f"http://127.0.0.1:{server.server_port}/cifar.tar.gz")
        yield images
        server.shutdown()


def test_a_tfds_set_is_downloaded_and_read_without_tensorflow(tfds_home, served_images):
    train = datasets.load("served_cifar", "train")
    test = datasets.load("tfds:served_cifar", "test")
    assert (len(train), len(test)) == (10, 2)
    assert train.image_shape == (32, 32, 3)
    assert (train.num_classes, train.levels) == (10, 256)
    # TFDS shuffles what it writes; the label of image i is i % 10.
    arrays = train.arrays()
    np.testing.assert_array_equal(arrays["image"], served_images[:10][arrays["label"]])
    assert train.fingerprint != test.fingerprint


def test_a_part_of_a_split_has_its_own_fingerprint(tfds_home, served_images):
    whole, half = (datasets.load("served_cifar", s) for s in ("train", "train[:50%]"))
    assert len(half) == 5
    np.testing.assert_array_equal(half.arrays()["image"], whole.arrays()["image"][:5])
    assert half.fingerprint != whole.fingerprint


def test_a_set_too_large_for_memory_is_read_by_example(tfds_home, served_images, monkeypatch):
    small = datasets.load("served_cifar", "train")
    assert small.fits_in_memory
    monkeypatch.setattr(image_sets, "IN_MEMORY_BYTES", 1000)
    large = datasets.load("served_cifar", "train")
    assert not large.fits_in_memory
    np.testing.assert_array_equal(large.source[3]["image"], small.source[3]["image"])
    np.testing.assert_array_equal(large.arrays()["image"], small.arrays()["image"])
    assert large.fingerprint != small.fingerprint


def test_a_download_that_fails_says_what_works_without_one(tfds_home):
    ADDRESS.append("http://127.0.0.1:9/cifar.tar.gz")
    with pytest.raises(InputError, match=r"cannot prepare served_cifar.*`digits` works") as error:
        datasets.load("served_cifar", "train")
    assert "\n" not in str(error.value)


def test_images_of_many_shapes_are_refused(tfds_home):
    class ManyShapes(tfds.testing.DummyDataset):
        pass

    with pytest.raises(InputError, match="many_shapes: 8-bit images of one shape"):
        datasets.load("many_shapes", "train")
