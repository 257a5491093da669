"""Batches on Grain: shuffled without end for training, once and in order for evaluation."""

import functools
import sys
from collections.abc import Iterator, Sequence

import grain
import numpy as np

from research.data.examples import Dataset, stack
from research.errors import InputError


def train_iterator(
    dataset: Dataset,
    *,
    batch_size: int,
    seed: int,
    process_index: int = 0,
    process_count: int = 1,
) -> grain.DatasetIterator:
    """Shuffled batches without end: the fields of `dataset`, each (b, ...).

    The epochs, each in an order of its own drawn from (seed, epoch), are laid end to end and cut
    into global batches of `batch_size`; a batch may lie over the seam of two epochs, so none of an
    epoch is left out. Process i takes the i-th of `process_count` equal parts of every batch,
    b = batch_size / process_count. The global batches do not depend on the number of processes.

    Batches that must be decoded are prepared ahead in threads. `get_state` tells how many were
    handed out, whatever has been prepared; it is equal on all processes, and `set_state` goes on
    with the next batch.

    Raises:
      InputError: the batch size is not positive or not divisible by `process_count`.
    """
    places = _endless_places(len(dataset), batch_size, seed, process_index, process_count)
    # A gather in memory takes less time than handing it over from a thread.
    threads = 0 if dataset.fits_in_memory else 16
    ahead = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads)
    return iter(places.map(functools.partial(_gather, dataset)).to_iter_dataset(ahead))


def place_iterator(
    dataset: Dataset,
    *,
    batch_size: int,
    seed: int,
    process_index: int = 0,
    process_count: int = 1,
) -> grain.DatasetIterator:
    """The batches of `train_iterator` as places in `dataset`, int32 (b,), with the same states."""
    places = _endless_places(len(dataset), batch_size, seed, process_index, process_count)
    narrow = places.map(lambda wide: wide.astype(np.int32))
    return iter(narrow.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)))


def batches(dataset: Dataset, *, batch_size: int) -> Iterator[dict[str, np.ndarray]]:
    """One pass in order: the fields of `dataset`, each (B, ...), and mask, float32 (B,).

    Every batch has `batch_size` examples, so that one compilation serves. The last is filled up
    with its own last example, where the mask is 0 in place of 1.

    Raises:
      InputError: the batch size is not positive.
    """
    _check_batch_size(batch_size)

    def one_pass() -> Iterator[dict[str, np.ndarray]]:
        for start in range(0, len(dataset), batch_size):
            places = np.arange(start, start + batch_size)
            mask = (places < len(dataset)).astype(np.float32)
            yield _gather(dataset, np.minimum(places, len(dataset) - 1)) | {"mask": mask}

    return one_pass()


def rows(dataset: Dataset, indices: Sequence[int]) -> dict[str, np.ndarray]:
    """The fields of the examples at `indices`, each (B, ...); after the last comes the first."""
    return _gather(dataset, np.asarray(indices) % len(dataset))


def _endless_places(
    size: int, batch_size: int, seed: int, process_index: int, process_count: int
) -> grain.MapDataset:
    """Process `process_index`'s places, (b,) of `size` examples, of every global batch."""
    _check_batch_size(batch_size)
    if batch_size % process_count:
        raise InputError(
            f"batch_size {batch_size} is not divisible by the {process_count} processes"
        )
    part = batch_size // process_count

    @functools.lru_cache(maxsize=2)
    def order(epoch: int) -> np.ndarray:
        return np.random.default_rng((seed, epoch)).permutation(size)

    def places(index: int) -> np.ndarray:
        start = index * batch_size + process_index * part
        stop = start + part
        epochs = range(start // size, (stop - 1) // size + 1)
        pieces = [order(e)[max(start - e * size, 0) : stop - e * size] for e in epochs]
        return np.concatenate(pieces)

    return grain.MapDataset.range(sys.maxsize // batch_size - 1).map(places)


def _gather(dataset: Dataset, indices: np.ndarray) -> dict[str, np.ndarray]:
    if dataset.fits_in_memory:
        return {name: array[indices] for name, array in dataset.arrays().items()}
    return stack([dataset.source[i] for i in indices.tolist()])


def _check_batch_size(batch_size: int) -> None:
    if batch_size <= 0:
        raise InputError(f"batch_size must be positive, it is {batch_size}")
