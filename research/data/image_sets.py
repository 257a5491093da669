"""Image sets by name: TFDS prepares them, and small ones are held in memory."""

import contextlib
import dataclasses
import io
import pathlib
import sys
from typing import Any

import numpy as np
import PIL.Image

from research.data import sources
from research.data.examples import Dataset, InMemory, Source, content_sha256, stack
from research.errors import InputError

IN_MEMORY_BYTES = 2**30
LEVELS = {"digits": 17}  # the others have the 256 of a byte


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ImageSet(Dataset):
    """Images of one shape with integer pixels in 0..levels - 1: `image` and `label`.

    `num_classes` is None where there are no labels; every label is then 0. Of a set too large for
    memory the fingerprint covers the names and sizes of its shards, not the pixels.
    """

    image_shape: tuple[int, int, int]
    num_classes: int | None
    levels: int

    def traits(self) -> dict[str, Any]:
        return {
            "image_shape": self.image_shape,
            "levels": self.levels,
            "num_classes": self.num_classes or 0,
        }


def load(name: str, split: str) -> ImageSet:
    """The split of a set: `digits`, `mnist`, `emoji`, or any name that TFDS knows.

    `tfds:mnist` is TFDS's own where ours has the same name. A set is prepared at its first use,
    which may download it. Our own live in the cache, TFDS's where TFDS keeps them. A split may be
    a part, `train[:90%]`.

    Raises:
      InputError: the name or the split is unknown, the set cannot be downloaded, or its examples
        are not images of one shape with 8 bits.
    """
    import tensorflow_datasets as tfds

    from research.data import preparation

    builder = _prepared_builder(name)
    count = preparation.split_size(builder, name, split)
    features = dict(builder.info.features.items())
    image: Any = features.get("image")
    label = features.get("label")
    is_image = isinstance(image, tfds.features.Image)
    if not is_image or None in image.shape or image.np_dtype != np.uint8:
        raise InputError(f"{name}: 8-bit images of one shape are needed, its `image` is {image}")
    num_classes = label.num_classes if isinstance(label, tfds.features.ClassLabel) else None

    prepared = _Prepared(
        builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()}),
        image.shape,
        labelled=num_classes is not None,
    )
    source: Source = prepared
    fingerprint = preparation.shards_sha256(builder, split)
    if _fits_in_memory(count, image.shape):
        arrays = _cached_arrays(builder, split, prepared)
        source = InMemory(arrays)
        fingerprint = content_sha256(arrays)
    return ImageSet(
        name=name,
        split=split,
        fingerprint=fingerprint,
        source=source,
        image_shape=image.shape,
        num_classes=num_classes,
        levels=LEVELS.get(name, 256),
    )


def _prepared_builder(name: str) -> Any:
    from research.data import builders

    own: dict[str, Any] = {
        "digits": builders.Digits,
        "emoji": builders.Emoji,
        "mnist": builders.Mnist,
    }
    if name not in own:
        from research.data import preparation

        return preparation.prepared(name, own)
    builder_cls = own[name]

    def prepare(folder: pathlib.Path) -> None:
        import tensorflow_datasets as tfds

        print(f"preparing {name}, this once", file=sys.stderr)
        tfds.disable_progress_bar()
        # TFDS reports on stdout, which belongs to the command's own results.
        with contextlib.redirect_stdout(io.StringIO()):
            builder_cls(data_dir=folder, file_format="array_record").download_and_prepare()
        tfds.enable_progress_bar()

    folder = sources.cache_dir() / "tfds" / f"{name}-{builder_cls.VERSION}"
    return builder_cls(data_dir=sources.install(folder, prepare), file_format="array_record")


class _Prepared:
    """A TFDS data source whose images Pillow decodes: the same pixels whether OpenCV is there."""

    def __init__(self, records: Any, image_shape: tuple[int, int, int], *, labelled: bool):
        self._records = records
        self._image_shape = image_shape
        self._labelled = labelled

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._example(self._records[index])

    def decode(self) -> dict[str, np.ndarray]:
        """The whole split at once, several times faster than one by one."""
        records = self._records.__getitems__(range(len(self)))
        return stack([self._example(record) for record in records])

    def _example(self, record: dict[str, Any]) -> dict[str, Any]:
        image = np.asarray(PIL.Image.open(io.BytesIO(record["image"])), np.uint8)
        label = record["label"] if self._labelled else 0
        return {"image": image.reshape(self._image_shape), "label": np.int32(label)}


def _fits_in_memory(count: int, image_shape: tuple[int, int, int]) -> bool:
    return count * int(np.prod(image_shape)) <= IN_MEMORY_BYTES


def _cached_arrays(builder: Any, split: str, prepared: _Prepared) -> dict[str, np.ndarray]:
    """The decoded split, memory-mapped; decoding MNIST takes a dozen seconds, mapping it none."""
    from research.data import preparation

    # The key changes with the shards, so that a set prepared anew is decoded anew.
    key = preparation.shards_sha256(builder, split)[:16]
    folder = sources.cache_dir() / "arrays" / f"{builder.info.name}-{builder.info.version}-{key}"

    def decode(folder: pathlib.Path) -> None:
        for name, array in prepared.decode().items():
            np.save(folder / f"{name}.npy", array)

    sources.install(folder, decode)
    paths = {name: folder / f"{name}.npy" for name in ("image", "label")}
    return {name: np.asarray(np.load(path, mmap_mode="r")) for name, path in paths.items()}
