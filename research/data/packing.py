"""Tokens of documents as rows of one length: windows of a stream, or whole documents packed."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Int, Int32

OPEN_ROWS = 1024  # a new document looks for room in so many rows that are not full

Arrays = dict[str, np.ndarray]


def windows(tokens_N: Int32[np.ndarray, "n"], *, size: int, stride: int) -> Arrays:
    """The windows of `size` tokens that start at 0, stride, 2 stride, ... of the stream.

    `tokens`, `positions` 0..size - 1 and `segments`, all 1: (N, size), views that take no memory.
    """
    tokens = np.lib.stride_tricks.sliding_window_view(tokens_N, size)[::stride]
    return {
        "tokens": tokens,
        "positions": np.broadcast_to(np.arange(size, dtype=np.int32), tokens.shape),
        "segments": np.broadcast_to(np.int32(1), tokens.shape),
    }


def documents(
    tokens_N: Int32[np.ndarray, "n"], ends: Int[np.ndarray, "d"], *, size: int, end: int, pad: int
) -> Arrays:
    """The documents, which end before the places `ends` of the stream, in rows of `size` tokens.

    A document and the `end` token before it are a segment, so that its first token is predicted
    too: `segments` counts them from 1 in each row, `positions` from 0 in each segment. A long one
    is cut into segments of `size` and a rest. Each goes to the first row with room for it. What is
    left of a row is `pad`, of segment 0 and position 0.
    """
    tokens_N = np.concatenate([np.array([end], np.int32), tokens_N])
    pieces = list(_pieces(ends + 1, size))
    rows, offsets = first_fit(np.array([stop - start for start, stop in pieces]), size)
    shape = (int(rows.max()) + 1, size)
    tokens = np.full(shape, pad, np.int32)
    positions, segments = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    count = np.zeros(shape[0], np.int32)
    for (start, stop), row, offset in zip(pieces, rows, offsets, strict=True):
        place = slice(offset, offset + stop - start)
        count[row] += 1
        tokens[row, place] = tokens_N[start:stop]
        positions[row, place] = np.arange(stop - start)
        segments[row, place] = count[row]
    return {"tokens": tokens, "positions": positions, "segments": segments}


def first_fit(
    sizes: Int[np.ndarray, "n"], capacity: int
) -> tuple[Int[np.ndarray, "n"], Int[np.ndarray, "n"]]:
    """The row of each piece and its place there: the first of the open rows that has room.

    Bin packing by first fit uses at most 1.7 times the fewest rows (Dósa and Sgall 2013). Here a
    row is closed when it is full, or when `OPEN_ROWS` have been opened after it.
    """
    free = np.full(len(sizes) + 1, capacity)
    rows, offsets = np.empty(len(sizes), int), np.empty(len(sizes), int)
    first = opened = 0
    for piece, size in enumerate(sizes):
        row = first + int(np.argmax(free[first : opened + 1] >= size))
        rows[piece], offsets[piece] = row, capacity - free[row]
        free[row] -= size
        opened = max(opened, row + 1)
        first = max(first, opened - OPEN_ROWS)
        while free[first] == 0:
            first += 1
    return rows, offsets


def _pieces(ends: Int[np.ndarray, "d"], size: int) -> Iterator[tuple[int, int]]:
    start = 0
    for stop in ends.tolist():
        yield from ((place, min(place + size, stop)) for place in range(start, stop, size))
        start = stop - 1
