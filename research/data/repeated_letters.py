"""Random letters that repeat: texts in which only what came before tells what comes next."""

import string

import numpy as np
from jaxtyping import Int

from research.data.examples import InMemory, check_split, content_sha256
from research.data.text_sets import TextSet
from research.data.tokenizers import train
from research.errors import InputError, check_least

ALPHABET = string.ascii_lowercase
COUNTS = {"train": 20_000, "test": 500}
SHORTEST = 5
JUMP = 0.2


def load(name: str, split: str, *, length: int = 100, period: int = 25) -> TextSet:
    """Rows of different letters of the alphabet, said again and again until the row is full.

    They are `period` in the test split. In the training split they are as often 5, 6, ... or
    `period`, and one letter in five is followed by any of them: neither the place nor how long
    since a letter was said tells what comes next, but what followed before.

    Raises:
      InputError: there is no such split, or no such period or length.
    """
    check_least(1, **{"data.length": length})
    check_split(name, split, COUNTS)
    if not SHORTEST <= period <= len(ALPHABET):
        raise InputError(f"data.period={period} must lie in {SHORTEST}..{len(ALPHABET)}")
    tokenizer = train("char", [ALPHABET], None)
    rng = np.random.default_rng(list(COUNTS).index(split))
    shortest = SHORTEST if split == "train" else period
    periods = rng.integers(shortest, period, size=COUNTS[split], endpoint=True)
    rows = repeated(periods, length + 1, rng, jump=JUMP if split == "train" else 0.0)
    tokens = tokenizer.encode(ALPHABET)[rows]
    arrays = {
        "tokens": tokens,
        "positions": np.broadcast_to(np.arange(length + 1, dtype=np.int32), tokens.shape),
        "segments": np.ones_like(tokens),
    }
    return TextSet(
        name=name,
        split=split,
        fingerprint=content_sha256(arrays),
        source=InMemory(arrays),
        tokenizer=tokenizer,
        length=length,
        bytes_per_token=1.0,
        packed=False,
    )


def repeated(
    periods: Int[np.ndarray, "N"], length: int, rng: np.random.Generator, *, jump: float
) -> Int[np.ndarray, "N T"]:
    """Numbers of the alphabet's letters: each row goes round a cycle of `periods` different ones,
    and with the chance `jump` goes on anywhere in it."""
    count = len(periods)
    letters = rng.permuted(np.tile(np.arange(len(ALPHABET)), (count, 1)), axis=1)
    far = rng.integers(periods[:, None], size=(count, length))
    steps = np.where(rng.random((count, length)) < jump, far, 1)
    places = np.cumsum(steps, axis=1) - steps[:, :1]
    return np.take_along_axis(letters, places % periods[:, None], axis=1)
