"""Every data set by its name: images, texts, points in the plane, or numbers of episodes."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from research.configuration import check_arguments
from research.data import (
    image_sets,
    labelled_texts,
    modular_arithmetic,
    point_sets,
    repeated_letters,
    sequence_tasks,
    sequential_mnist,
    text_sets,
)
from research.data.corpora import CORPORA, is_path
from research.data.examples import Dataset, InMemory, check_split, content_sha256
from research.data.labelled_texts import CLASSES, SPANS
from research.data.mixtures import MIXTURES
from research.data.sequence_tasks import TASKS
from research.data.text_pairs import PAIRS
from research.data.word_contexts import WORD_SETS
from research.errors import InputError

EPISODES = {"train": 1000, "test": 164}  # 164 as gymnax's own table averages over


def load(name: str, split: str, *, files: pathlib.Path | None = None, **options: Any) -> Dataset:
    """The split of a set: points, `episodes`, a sequence task, a division, texts, else images.

    A text set is one of `PAIRS` (`text_sets.load_pairs`), of `CLASSES` or `SPANS`
    (`labelled_texts.load`), of `WORD_SETS` (`word_contexts`), `repeated_letters`, or a corpus by
    name, the path of a file or folder, or, where `tokenizer` is among the options, any name that
    TFDS knows (`text_sets.load`). Its options are the keyword arguments there, those of one of
    `TASKS` are `sequence_tasks.load`'s, of `modular_division` `modular_arithmetic.load`'s; others,
    `sequential_mnist` among them, have none.
    `files` is a run's folder, with what `Dataset.save` wrote there.

    Raises:
      InputError: the name, the split or an option is unknown, or the set cannot be had.
    """
    if name in TASKS:
        return _given(functools.partial(sequence_tasks.load, name, split), options)
    if name == "modular_division":
        return _given(functools.partial(modular_arithmetic.load, name, split), options)
    if name == "repeated_letters":
        return _given(functools.partial(repeated_letters.load, name, split), options)
    if name in WORD_SETS:
        return _given(functools.partial(WORD_SETS[name], name, split, files), options)
    if name in PAIRS:
        return _given(functools.partial(text_sets.load_pairs, name, split, files), options)
    if name in CLASSES or name in SPANS:
        return _given(functools.partial(labelled_texts.load, name, split, files), options)
    if name in CORPORA or is_path(name) or "tokenizer" in options:
        return _given(functools.partial(text_sets.load, name, split, files), options)
    for option in options:
        raise InputError(
            f"data.{option} is unknown: {name} has no options; "
            "a text set of TFDS needs data.tokenizer"
        )
    if name == "sequential_mnist":
        return sequential_mnist.load(name, split)
    if name in MIXTURES:
        return point_sets.load(name, split)
    if name == "episodes":
        return episodes(split)
    return image_sets.load(name, split)


def _given(make: Callable[..., Dataset], options: Mapping[str, Any]) -> Dataset:
    check_arguments(make, options, "data")
    return make(**options)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class EpisodeSet(Dataset):
    """Numbers `episode`, int32 (), for worlds that need no data: one a row of the batch."""

    def traits(self) -> dict[str, Any]:
        return {}


def episodes(split: str) -> EpisodeSet:
    """Raises InputError: there is no such split."""
    check_split("episodes", split, EPISODES)
    arrays = {"episode": np.arange(EPISODES[split], dtype=np.int32)}
    return EpisodeSet(
        name="episodes", split=split, fingerprint=content_sha256(arrays), source=InMemory(arrays)
    )
