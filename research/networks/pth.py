"""Reads the tensors of a `.pth` file, and nothing that could run: no torch, no free unpickling."""

import collections
import pathlib
import pickle
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from research.errors import InputError

MAGIC = 0x1950A86A20F9469CFC6C  # of files written before torch 1.6; later ones are zip files
PROTOCOL = 1001
DTYPES = {
    "HalfStorage": np.dtype("<f2"),
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "IntStorage": np.dtype("<i4"),
    "LongStorage": np.dtype("<i8"),
}


def read_pth(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The state dictionary saved at `path`: name -> array.

    The format is that of torch.save before version 1.6: five pickles, then the storages one after
    another, each with its element count before it. The pickles may name only an ordered
    dictionary, torch's tensor and its storages.

    Raises:
      InputError: the file is something else, is cut short, or names anything further.
    """
    try:
        with path.open("rb") as file:
            if [_Unpickler(file).load(), _Unpickler(file).load()] != [MAGIC, PROTOCOL]:
                raise InputError(f"{path} is not a .pth file of torch before 1.6")
            _Unpickler(file).load()  # type sizes of the writer
            tensors: Mapping[str, _Tensor] = _Unpickler(file).load()
            order: list[str] = _Unpickler(file).load()
            dtypes = {tensor.storage.key: tensor.storage.dtype for tensor in tensors.values()}
            storages = {key: _read_storage(file, dtypes[key]) for key in order}
        return {name: _array(tensor, storages) for name, tensor in tensors.items()}
    except (pickle.UnpicklingError, EOFError, LookupError, TypeError, ValueError) as error:
        raise InputError(f"{path} is no whole .pth file: {error}") from error


class _Storage(NamedTuple):
    key: str
    dtype: np.dtype


class _Tensor(NamedTuple):
    """The arguments of torch._utils._rebuild_tensor_v2; offset and strides count elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    requires_grad: bool
    hooks: Any


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _Tensor
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        raise InputError(f"a .pth file asks for {module}.{name}: refused, it may run anything")

    def persistent_load(self, pid: Any) -> _Storage:
        _, dtype, key, *_ = pid
        return _Storage(key, dtype)


def _read_storage(file: BinaryIO, dtype: np.dtype) -> bytes:
    count = int.from_bytes(file.read(8), "little")
    data = file.read(count * dtype.itemsize)
    if len(data) < count * dtype.itemsize:
        raise EOFError(f"a storage of {count} elements is cut short")
    return data


def _array(tensor: _Tensor, storages: Mapping[str, bytes]) -> np.ndarray:
    """The tensor's elements; numpy refuses strides that reach outside the storage."""
    dtype = tensor.storage.dtype
    return np.ndarray(
        tensor.shape,
        dtype,
        storages[tensor.storage.key],
        offset=tensor.offset * dtype.itemsize,
        strides=[stride * dtype.itemsize for stride in tensor.strides],
    )
