"""What every data set is: named examples at random access, and what methods are told of them."""

import abc
import dataclasses
import functools
import hashlib
import pathlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from research.errors import InputError, nearest


@runtime_checkable
class Source(Protocol):
    """Random access to examples, dicts of arrays by name: `{"image": uint8 (H, W, C), ...}`."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> dict[str, Any]: ...


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Dataset(abc.ABC):
    """One split of a named set; its examples all have the same fields, shapes and dtypes.

    `fingerprint` is a SHA-256 that changes with the examples.
    """

    name: str
    split: str
    fingerprint: str
    source: Source

    @abc.abstractmethod
    def traits(self) -> dict[str, Any]:
        """What networks and methods are told of the examples, by the name of the argument."""

    def test_traits(self) -> dict[str, Any]:
        """What methods are told of the examples they are evaluated on, likewise."""
        return {}

    def save(self, folder: pathlib.Path) -> None:  # noqa: B027 (most sets keep nothing)
        """Writes what a run must keep to read the set again, where `datasets.load` finds it."""

    def __len__(self) -> int:
        return len(self.source)

    @property
    def fits_in_memory(self) -> bool:
        return isinstance(self.source, InMemory)

    @property
    def fits_on_device(self) -> bool:
        """True if every device may keep a copy: 256 MiB, with overlapping windows counted whole."""
        return self.fits_in_memory and sum(x.nbytes for x in self.arrays().values()) <= 2**28

    def arrays(self) -> dict[str, np.ndarray]:
        """The whole split, by field, along the first axis. Not to be written."""
        return self._arrays

    @functools.cached_property
    def _arrays(self) -> dict[str, np.ndarray]:
        if isinstance(self.source, InMemory):
            return self.source.arrays
        arrays = stack([self.source[i] for i in range(len(self))])
        for array in arrays.values():
            array.setflags(write=False)
        return arrays

    def zeros(self, batch_size: int) -> dict[str, np.ndarray]:
        """A batch of the right shapes and dtypes and no content."""
        fields = {name: np.asarray(value) for name, value in self.source[0].items()}
        return {
            name: np.zeros((batch_size, *value.shape), value.dtype)
            for name, value in fields.items()
        }


@dataclasses.dataclass(frozen=True, eq=False)
class InMemory:
    """The examples of a whole split held as arrays, by field."""

    arrays: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {name: array[index] for name, array in self.arrays.items()}


def check_split(name: str, split: str, splits: Collection[str]) -> None:
    """Raises InputError if the set `name` has no such split."""
    if split not in splits:
        raise InputError(f"{name} has no split {split!r}; {nearest(split, splits)}")


def stack(examples: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Examples as one batch."""
    return {name: np.stack([example[name] for example in examples]) for name in examples[0]}


def content_sha256(arrays: Mapping[str, np.ndarray]) -> str:
    """A hash of every field's name, dtype, shape and values."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
