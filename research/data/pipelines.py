"""Batches on Grain: shuffled without end for training, once and in order for evaluation."""

import functools
import sys
from collections.abc import Iterator, Sequence

import grain
import numpy as np

from research.data.examples import Dataset, stack
from research.errors import InputError, check_least


def train_iterator(
    dataset: Dataset,
    *,
    batch_size: int,
    seed: int,
    process_index: int = 0,
    process_count: int = 1,
    gathered: bool = True,
) -> grain.DatasetIterator:
    """Shuffled batches without end: the fields of `dataset`, each (b, ...).

    Not `gathered`, a batch is the places of its examples in `dataset`, int32 (b,), of at most 2^31.

    The epochs, each in an order of its own drawn from (seed, epoch), are laid end to end and cut
    into global batches of `batch_size`; a batch may lie over the seam of two epochs, so none of an
    epoch is left out. Process i takes the i-th of `process_count` equal parts of every batch,
    b = batch_size / process_count. The global batches do not depend on the number of processes.

    Batches that must be decoded are prepared ahead in threads. `get_state` tells how many were
    handed out, whatever has been prepared; it is equal on all processes, and `set_state` goes on
    with the next batch.

    Raises:
      InputError: the batch size is less than 1 or not divisible by `process_count`.
    """
    check_least(1, batch_size=batch_size)
    if batch_size % process_count:
        raise InputError(
            f"batch_size {batch_size} is not divisible by the {process_count} processes"
        )
    part = batch_size // process_count
    size = len(dataset)

    @functools.lru_cache(maxsize=2)
    def order(epoch: int) -> np.ndarray:
        return np.random.default_rng((seed, epoch)).permutation(size)

    def batch(index: int) -> dict[str, np.ndarray] | np.ndarray:
        start = index * batch_size + process_index * part
        stop = start + part
        epochs = range(start // size, (stop - 1) // size + 1)
        pieces = [order(e)[max(start - e * size, 0) : stop - e * size] for e in epochs]
        places = np.concatenate(pieces)
        return _gather(dataset, places) if gathered else places.astype(np.int32)

    # A gather in memory takes less time than handing it over from a thread.
    threads = 16 if gathered and not dataset.fits_in_memory else 0
    ahead = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads)
    endless = grain.MapDataset.range(sys.maxsize // batch_size - 1).map(batch)
    return iter(endless.to_iter_dataset(ahead))


def batches(dataset: Dataset, *, batch_size: int) -> Iterator[dict[str, np.ndarray]]:
    """One pass in order: the fields of `dataset`, each (B, ...), and mask, float32 (B,).

    Every batch has `batch_size` examples, so that one compilation serves. The last is filled up
    with its own last example, where the mask is 0 in place of 1.

    Raises:
      InputError: the batch size is less than 1.
    """
    check_least(1, batch_size=batch_size)

    def one_pass() -> Iterator[dict[str, np.ndarray]]:
        for start in range(0, len(dataset), batch_size):
            places = np.arange(start, start + batch_size)
            mask = (places < len(dataset)).astype(np.float32)
            yield _gather(dataset, np.minimum(places, len(dataset) - 1)) | {"mask": mask}

    return one_pass()


def whole(dataset: Dataset, *, size: int = 1000) -> Iterator[dict[str, np.ndarray]]:
    """One pass in order: the fields of every example once, at most `size` at a time."""
    for start in range(0, len(dataset), size):
        yield _gather(dataset, np.arange(start, min(start + size, len(dataset))))


def rows(dataset: Dataset, indices: Sequence[int]) -> dict[str, np.ndarray]:
    """The fields of the examples at `indices`, each (B, ...)."""
    return _gather(dataset, np.asarray(indices))


def _gather(dataset: Dataset, indices: np.ndarray) -> dict[str, np.ndarray]:
    if dataset.fits_in_memory:
        return {name: array[indices] for name, array in dataset.arrays().items()}
    return stack([dataset.source[i] for i in indices.tolist()])
