"""Synthetic sequence tasks: adding and copying, of long memory (1803.01271), and linear functions.

All read vectors `inputs`, float32 (T, C); examples are the same at every call.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from research.data.examples import Dataset, InMemory, check_split, content_sha256
from research.errors import InputError

REMEMBERED = 10  # symbols to copy
SYMBOLS = 10  # 0 is blank, 1 to 8 are copied, 9 asks for them
DIMENSIONS = 5  # of a linear function's arguments


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class SequenceTask(Dataset):
    """`inputs`, float32 (T, `channels`), and the task's own target, of which a network makes
    `outputs` numbers."""

    channels: int
    outputs: int

    def traits(self) -> dict[str, Any]:
        return {"channels": self.channels, "outputs": self.outputs}


def adding(count: int, length: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Inputs (count, length, 2): numbers uniform in [0, 1), and marks, 1 at two steps and else 0.

    `target` (count,) is the sum of the two marked numbers.
    """
    numbers = rng.random((count, length), np.float32)
    first = rng.integers(length, size=count)
    second = (first + rng.integers(1, length, size=count)) % length
    marks = np.zeros_like(numbers)
    rows = np.arange(count)
    marks[rows, first] = marks[rows, second] = 1
    target = numbers[rows, first] + numbers[rows, second]
    return {"inputs": np.stack([numbers, marks], axis=-1), "target": target}


def copy_memory(count: int, length: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Inputs (count, length + 20, 1): ten symbols of 1..8, length - 1 blanks 0, and eleven 9s.

    `targets`, int32 (count, length + 20), are 0 but for the last ten, the symbols in their order.
    A symbol is read as its own number, as the authors' code has it.
    """
    symbols = rng.integers(1, SYMBOLS - 1, size=(count, REMEMBERED), dtype=np.int32)
    blanks = np.zeros((count, length - 1), np.int32)
    asking = np.full((count, REMEMBERED + 1), SYMBOLS - 1, np.int32)
    inputs = np.concatenate([symbols, blanks, asking], axis=1)
    targets = np.zeros_like(inputs)
    targets[:, -REMEMBERED:] = symbols
    return {"inputs": inputs[..., None].astype(np.float32), "targets": targets}


def linear_functions(count: int, length: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A function w . x each, of which values at `length` places are asked for (2208.01066).

    `targets` (count, length) are these values. Inputs (count, length, 6) are a place x and the
    value at the place before, 0 at first; w and x have 5 standard normal numbers.
    """
    w = rng.standard_normal((count, DIMENSIONS, 1), np.float32)
    x = rng.standard_normal((count, length, DIMENSIONS), np.float32)
    values = x @ w
    before = np.concatenate([np.zeros_like(values[:, :1]), values[:, :-1]], axis=1)
    return {"inputs": np.concatenate([x, before], axis=-1), "targets": values[..., 0]}


@dataclasses.dataclass(frozen=True)
class Task:
    """How a task is made, of what sizes, and the length that we claim."""

    make: Callable[[int, int, np.random.Generator], dict[str, np.ndarray]]
    counts: dict[str, int]
    length: int
    channels: int
    outputs: int


TASKS = {
    "adding": Task(adding, {"train": 50_000, "test": 1000}, 600, 2, 1),
    "copy_memory": Task(copy_memory, {"train": 10_000, "test": 1000}, 1000, 1, SYMBOLS),
    "linear_functions": Task(
        linear_functions, {"train": 200_000, "test": 2000}, 16, DIMENSIONS + 1, 1
    ),
}


def load(name: str, split: str, *, length: int | None = None) -> SequenceTask:
    """The task of a length T, by default that of `TASKS`, in its numbers of examples.

    Raises:
      InputError: there is no such split, or no task of that length.
    """
    task = TASKS[name]
    check_split(name, split, task.counts)
    length = task.length if length is None else length
    if length < 2:
        raise InputError(f"data.length={length} of {name} is too short; 2 is the least")
    rng = np.random.default_rng((list(task.counts).index(split), length))
    arrays = task.make(task.counts[split], length, rng)
    return SequenceTask(
        name=name,
        split=split,
        fingerprint=content_sha256(arrays),
        source=InMemory(arrays),
        channels=task.channels,
        outputs=task.outputs,
    )
