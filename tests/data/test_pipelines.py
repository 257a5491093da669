"""Batches: every example once an epoch, exact to restore, disjoint over processes."""

import grain
import numpy as np
import orbax.checkpoint as ocp
import pytest

from research.data import datasets, pipelines
from research.data.datasets import EpisodeSet
from research.data.examples import InMemory, stack
from research.errors import InputError


class Numbered:
    """Examples that carry their own index as label and in their pixels."""

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return {"image": np.full((2, 2, 1), index % 256, np.uint8), "label": np.int32(index)}


def numbered(count, *, in_memory=False):
    source = Numbered(count)
    if in_memory:
        source = InMemory(stack([source[index] for index in range(count)]))
    return EpisodeSet(name="numbered", split="train", fingerprint="0" * 64, source=source)


def labels(iterator, count):
    return np.concatenate([next(iterator)["label"] for _ in range(count)])


@pytest.mark.parametrize("in_memory", [True, False])
def test_an_epoch_has_every_example_once_and_its_own_order(in_memory):
    dataset = numbered(50, in_memory=in_memory)
    epochs = labels(pipelines.train_iterator(dataset, batch_size=10, seed=0), 15)
    first, second, third = epochs.reshape(3, 50)
    for epoch in (first, second, third):
        assert sorted(epoch) == list(range(50))
    assert not np.array_equal(first, second) and not np.array_equal(second, third)
    assert not np.array_equal(first, np.arange(50))


def test_batches_run_over_the_seam_of_epochs():
    """7 does not divide 50: seven epochs are fifty batches all the same."""
    all_labels = labels(pipelines.train_iterator(numbered(50), batch_size=7, seed=0), 50)
    for epoch in all_labels.reshape(7, 50):
        assert sorted(epoch) == list(range(50))


def test_a_batch_may_be_larger_than_the_set():
    (batch,) = labels(pipelines.train_iterator(numbered(3), batch_size=8, seed=0), 1).reshape(1, 8)
    assert sorted(batch[:3]) == sorted(batch[3:6]) == [0, 1, 2]


@pytest.mark.parametrize("in_memory", [True, False])
def test_images_go_with_their_labels(in_memory):
    dataset = numbered(50, in_memory=in_memory)
    batch = next(pipelines.train_iterator(dataset, batch_size=10, seed=0))
    assert batch["image"].shape == (10, 2, 2, 1) and batch["image"].dtype == np.uint8
    assert batch["label"].shape == (10,) and batch["label"].dtype == np.int32
    np.testing.assert_array_equal(batch["image"][:, 1, 1, 0], batch["label"])


def test_the_seed_is_the_order():
    orders = [
        labels(pipelines.train_iterator(numbered(50), batch_size=10, seed=seed), 5)
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2])


@pytest.mark.parametrize("taken", [0, 1, 4, 5, 13])
@pytest.mark.parametrize("in_memory", [True, False])
def test_a_restored_iterator_goes_on_with_the_next_batch(taken, in_memory):
    dataset = numbered(50, in_memory=in_memory)
    make = lambda: pipelines.train_iterator(dataset, batch_size=12, seed=3)  # noqa: E731
    iterator = make()
    labels(iterator, taken) if taken else None
    state = iterator.get_state()
    expected = labels(iterator, 6)
    restored = make()
    next(restored)  # what it has prepared must be thrown away
    restored.set_state(state)
    np.testing.assert_array_equal(labels(restored, 6), expected)


def test_orbax_saves_the_iterator(tmp_path):
    iterator = pipelines.train_iterator(numbered(50), batch_size=12, seed=3)
    labels(iterator, 5)
    with ocp.CheckpointManager(tmp_path) as manager:
        saved = ocp.args.Composite(data=grain.checkpoint.CheckpointSave(iterator))
        manager.save(5, args=saved)
        expected = labels(iterator, 6)
        fresh = pipelines.train_iterator(numbered(50), batch_size=12, seed=3)
        wanted = ocp.args.Composite(data=grain.checkpoint.CheckpointRestore(fresh))
        restored = manager.restore(5, args=wanted)["data"]
    np.testing.assert_array_equal(labels(restored, 6), expected)


@pytest.mark.parametrize("taken", [0, 5, 13])
def test_places_are_those_of_the_batches_and_share_their_states(taken):
    options = {"batch_size": 12, "seed": 3, "process_index": 1, "process_count": 2}
    batches, places = (
        pipelines.train_iterator(numbered(50, in_memory=True), gathered=gathered, **options)
        for gathered in (True, False)
    )
    for _ in range(taken):
        next(batches)
    places.set_state(batches.get_state())
    for _ in range(6):
        place = next(places)
        assert place.shape == (6,) and place.dtype == np.int32
        np.testing.assert_array_equal(place, next(batches)["label"])
    assert places.get_state() == batches.get_state()


def test_processes_divide_every_batch():
    whole = labels(pipelines.train_iterator(numbered(50), batch_size=12, seed=0), 8)
    parts = [
        labels(
            pipelines.train_iterator(
                numbered(50), batch_size=12, seed=0, process_index=i, process_count=3
            ),
            8,
        ).reshape(8, 4)
        for i in range(3)
    ]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1).ravel(), whole)
    first_epoch = [set(part[:4].ravel()) for part in parts]
    assert len(set.union(*first_epoch)) == sum(len(part) for part in first_epoch) == 48


def test_a_run_goes_on_with_another_number_of_processes():
    one = pipelines.train_iterator(numbered(50), batch_size=12, seed=0)
    labels(one, 3)
    state, expected = one.get_state(), next(one)["label"]
    halves = []
    for i in range(2):
        half = pipelines.train_iterator(
            numbered(50), batch_size=12, seed=0, process_index=i, process_count=2
        )
        half.set_state(state)
        halves.append(next(half)["label"])
    np.testing.assert_array_equal(np.concatenate(halves), expected)


@pytest.mark.parametrize("batch_size", [1, 7, 10, 50, 64])
@pytest.mark.parametrize("in_memory", [True, False])
def test_one_pass_has_full_batches_in_order(batch_size, in_memory):
    dataset = numbered(50, in_memory=in_memory)
    one_pass = list(pipelines.batches(dataset, batch_size=batch_size))
    assert all(batch["image"].shape == (batch_size, 2, 2, 1) for batch in one_pass)
    mask = np.concatenate([batch["mask"] for batch in one_pass])
    assert mask.dtype == np.float32 and mask.sum() == 50
    kept = np.concatenate([batch["label"] for batch in one_pass])[mask == 1]
    np.testing.assert_array_equal(kept, np.arange(50))


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_whole_set_has_each_example_once(in_memory):
    parts = list(pipelines.whole(numbered(50, in_memory=in_memory), size=20))
    assert [part["image"].shape for part in parts] == [(n, 2, 2, 1) for n in (20, 20, 10)]
    np.testing.assert_array_equal(np.concatenate([x["label"] for x in parts]), np.arange(50))


@pytest.mark.parametrize("batch_size", [0, -4])
def test_a_batch_size_that_is_not_positive_is_refused_at_once(batch_size):
    with pytest.raises(InputError, match=f"batch_size is {batch_size}; 1 is the least"):
        pipelines.train_iterator(numbered(5), batch_size=batch_size, seed=0)
    with pytest.raises(InputError, match=f"batch_size is {batch_size}; 1 is the least"):
        pipelines.batches(numbered(5), batch_size=batch_size)


def test_processes_must_divide_the_batch():
    with pytest.raises(InputError, match="batch_size 10 is not divisible by the 4 processes"):
        pipelines.train_iterator(numbered(50), batch_size=10, seed=0, process_count=4)


def test_a_set_in_memory_is_read_by_places_and_no_example_alone(monkeypatch):
    monkeypatch.setattr(InMemory, "__getitem__", None)
    dataset = datasets.load("digits", "train")
    batch = next(pipelines.train_iterator(dataset, batch_size=128, seed=0))
    assert batch["image"].shape == (128, 8, 8, 1)
    assert len(next(pipelines.batches(dataset, batch_size=128))["label"]) == 128
    assert len(pipelines.rows(dataset, range(128))["label"]) == 128
