"""Which blocks of queries and keys the TPU kernels of attention visit, and how each is masked."""

import dataclasses
import math
from typing import NamedTuple

import numpy as np

from kernels.attention.api import Arrays, Settings
from kernels.blocks import Blocks, round_up

LANES = 128


class Kind(NamedTuple):
    """What a block's mask is: `offset` is its first key's position less its first query's.

    None is a block that lies inside the band. The first `keys` of its keys are real.
    """

    offset: int | None
    keys: int


@dataclasses.dataclass(frozen=True)
class Plan:
    """Block sizes, and the blocks that are visited, in order.

    A visit is a block of queries, one of keys, a query head of the key head's group, and flags:
    4 * its kind + 2 * (first of its accumulator) + (last of it).
    """

    q: int
    k: int
    tile: int
    chunk: int
    queries: int
    keys: int
    kinds: tuple[Kind, ...]
    visits: tuple[np.ndarray, ...]

    @property
    def tiles(self) -> range:
        """The first query of each tile of a block."""
        return range(0, self.q, self.tile)

    @property
    def chunks(self) -> range:
        """The first key of each chunk of a block."""
        return range(0, self.k, self.chunk)

    @property
    def pairs(self) -> int:
        """Queries times keys that one head visits."""
        return len(self.visits[0]) * self.q * self.k


def plan(arrays: Arrays, settings: Settings, blocks: Blocks, *, by_keys: bool = False) -> Plan:
    """Visits of one head, queries outermost; `by_keys`, of a key head's group, keys outermost.

    Blocks are cut to the lengths, which are padded to whole blocks.
    """
    queries, keys = arrays.q_BxTxHxD.shape[1], arrays.k_BxSxKxD.shape[1]
    group = arrays.q_BxTxHxD.shape[2] // arrays.k_BxSxKxD.shape[2] if by_keys else 1
    tile = min(blocks["tile"], round_up(queries, LANES))
    q = min(blocks["q"], round_up(queries, tile))
    chunk = min(blocks["chunk"], round_up(keys, LANES))
    k = min(blocks["k"], round_up(keys, chunk))
    shape = math.ceil(queries / q), math.ceil(keys / k)
    kinds: dict[Kind, int] = {}
    visits = []
    for outer in range(shape[by_keys]):
        inner = []
        for other in range(shape[not by_keys]):
            i, j = (other, outer) if by_keys else (outer, other)
            kind = kind_of(settings, j * k - i * q, q, k, min(k, keys - j * k))
            if kind is not None:
                inner.append((i, j, kind))
        # An accumulator that nothing is added to is written all the same.
        inner = inner or [(0, outer, Kind(None, 0)) if by_keys else (outer, 0, Kind(None, 0))]
        steps = [(i, j, head, kind) for head in range(group) for i, j, kind in inner]
        for n, (i, j, head, kind) in enumerate(steps):
            flags = 4 * kinds.setdefault(kind, len(kinds)) + 2 * (n == 0) + (n == len(steps) - 1)
            visits.append((i, j, head, flags))
    table = tuple(np.array(visits, np.int32).T)
    return Plan(q, k, tile, chunk, round_up(queries, q), round_up(keys, k), tuple(kinds), table)


def kind_of(settings: Settings, offset: int, q: int, k: int, keys: int) -> Kind | None:
    """The kind of a block of `q` queries and `k` keys, None if the band rules it out."""
    inside = seen(settings, offset - (q - 1), offset + keys - 1)
    if inside is None:
        return None
    return Kind(None if inside else offset, keys)


def seen(settings: Settings, lowest: int, highest: int) -> bool | None:
    """Whether the band takes all key positions less query positions from lowest to highest.

    None if it takes none of them.
    """
    left = math.inf if settings.left is None else settings.left
    right = math.inf if settings.right is None else settings.right
    if highest < -left or lowest > right:
        return None
    return lowest >= -left and highest <= right


def chunks_seen(kind: Kind, shape: Plan, settings: Settings, first_query: int) -> list[int]:
    """The first keys of the chunks of a block that a tile of queries needs."""

    def needed(first_key: int) -> bool:
        if first_key >= kind.keys:
            return False
        if kind.offset is None:
            return True
        corner = kind.offset + first_key - first_query
        return seen(settings, corner - (shape.tile - 1), corner + shape.chunk - 1) is not None

    return [c for c in shape.chunks if needed(c)]
