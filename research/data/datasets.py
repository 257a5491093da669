"""Every data set by its name: images, points in the plane, or mere numbers of episodes."""

import dataclasses
from typing import Any

import numpy as np

from research.data import image_sets, point_sets, sequence_tasks
from research.data.examples import Dataset, InMemory, content_sha256
from research.data.mixtures import MIXTURES
from research.data.sequence_tasks import TASKS
from research.errors import InputError, nearest

EPISODES = {"train": 1000, "test": 164}  # 164 as gymnax's own table averages over


def load(name: str, split: str, **options: Any) -> Dataset:
    """The split of a set: a mixture's points, `episodes`, a sequence task, else an image set.

    `options` are a sequence task's `length`.

    Raises:
      InputError: the name or the split is unknown, or the set cannot be had.
    """
    if name in TASKS:
        return sequence_tasks.load(name, split, **options)
    if name in MIXTURES:
        return point_sets.load(name, split)
    if name == "episodes":
        return episodes(split)
    return image_sets.load(name, split)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class EpisodeSet(Dataset):
    """Numbers `episode`, int32 (), for worlds that need no data: one a row of the batch."""

    def traits(self) -> dict[str, Any]:
        return {}


def episodes(split: str) -> EpisodeSet:
    """Raises InputError: there is no such split."""
    if split not in EPISODES:
        raise InputError(f"episodes has no split {split!r}; {nearest(split, EPISODES)}")
    arrays = {"episode": np.arange(EPISODES[split], dtype=np.int32)}
    return EpisodeSet(
        name="episodes", split=split, fingerprint=content_sha256(arrays), source=InMemory(arrays)
    )
