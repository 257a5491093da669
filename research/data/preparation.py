"""Sets of TFDS's own catalogue: found, downloaded and prepared, with TensorFlow or without."""

import contextlib
import hashlib
import importlib.util
import io
import os
import pathlib
import shutil
import sys
import types
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import PIL.Image
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import downloader, extractor
from tensorflow_datasets.core.features import image_feature

from research.data.sources import WITHOUT_NETWORK
from research.errors import InputError, nearest


def prepared(name: str, others: Collection[str] = ()) -> tfds.core.DatasetBuilder:
    """TFDS's builder `name`, prepared as ArrayRecord where TFDS keeps its data.

    The name may start with `tfds:` and may have a config and a version, `set/config:1.0.0`.
    `others` are further names to offer where it is unknown.

    Raises:
      InputError: TFDS does not know the name, or cannot download or prepare the set.
    """
    tfds_name = name.removeprefix("tfds:")
    known = tfds.list_builders(with_community_datasets=False)
    if tfds_name.split("/")[0].split(":")[0] not in known:
        hint = nearest(tfds_name, [*others, *known])
        if hint.startswith("allowed"):
            hint = f"allowed: {', '.join(others)} and the {len(known)} names of TFDS"
        raise InputError(f"no data set is named {name!r}; {hint}")
    try:
        builder = tfds.builder(tfds_name, file_format="array_record")
        if not builder.is_prepared():
            with contextlib.redirect_stdout(sys.stderr), _without_tensorflow(builder):
                builder.download_and_prepare()
    # Each of TFDS's builders fails in its own way: the network, a checksum, a missing package.
    except Exception as error:
        reason = next(iter(str(error).splitlines()), "")[:200]
        raise InputError(
            f"cannot prepare {name} through TFDS: {type(error).__name__}: {reason}; "
            f"{WITHOUT_NETWORK}"
        ) from error
    return builder


def split_size(builder: tfds.core.DatasetBuilder, name: str, split: str) -> int:
    """How many examples a split has, or a part of it, `train[:90%]`, of the set `name`.

    Raises InputError: there is no such split.
    """
    try:
        return builder.info.splits[split].num_examples
    except (KeyError, ValueError) as error:
        allowed = nearest(split, builder.info.splits)
        raise InputError(f"{name} has no split {split!r}; {allowed}") from error


def shards_sha256(builder: tfds.core.DatasetBuilder, split: str) -> str:
    """A hash of the names and sizes of a split's files, that is quick where the set is large."""
    digest = hashlib.sha256(builder.info.full_name.encode())
    for shard in builder.info.splits[split].file_instructions:
        path = pathlib.Path(shard.filename)
        digest.update(f"{path.name} {path.stat().st_size} {shard.skip} {shard.take}".encode())
    return digest.hexdigest()


@contextlib.contextmanager
def _without_tensorflow(builder: tfds.core.DatasetBuilder) -> Iterator[None]:
    """Lets `builder` download and prepare images where TensorFlow is not installed.

    On that path TFDS asks it for files and for PNG encoding only, which is done here by Python and
    Pillow. TFDS would also try an address that does not answer for minutes.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_set(downloader, "MAX_RETRIES", 4))
        if importlib.util.find_spec("tensorflow") is None:
            stand_in = _tensorflow_stand_in()
            modules = {sys.modules[base.__module__] for base in type(builder).__mro__}
            for module in {m for m in modules if "tf" in vars(m)} | {downloader, extractor}:
                stack.enter_context(_set(module, "tf", stand_in))
            stack.enter_context(_set(image_feature._ImageEncoder, "_encode_image", _encode_image))
        yield


def _tensorflow_stand_in() -> types.SimpleNamespace:
    gfile = types.SimpleNamespace(
        GFile=open, Open=open, exists=os.path.exists, listdir=os.listdir, copy=shutil.copyfile
    )
    return types.SimpleNamespace(
        io=types.SimpleNamespace(gfile=gfile),
        compat=types.SimpleNamespace(as_text=os.fsdecode),
        errors=types.SimpleNamespace(UnimplementedError=NotImplementedError),
    )


def _encode_image(encoder: Any, image_HxWxC: np.ndarray) -> bytes:
    grey = image_HxWxC.shape[-1] == 1
    buffer = io.BytesIO()
    image = PIL.Image.fromarray(image_HxWxC[..., 0] if grey else image_HxWxC)
    image.save(buffer, format=encoder.encoding_format)
    return buffer.getvalue()


@contextlib.contextmanager
def _set(owner: Any, attribute: str, value: Any) -> Iterator[None]:
    before = getattr(owner, attribute)
    setattr(owner, attribute, value)
    try:
        yield
    finally:
        setattr(owner, attribute, before)
