"""What attention in plain JAX does at once: how many problems, and which pairs of blocks meet."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kernels.attention.api import Arrays, Settings
from kernels.blocks import chosen, largest_divisor

Carry = Any


@dataclasses.dataclass(frozen=True)
class Plan:
    """`batch` x `heads` problems a part; blocks of `queries` x `keys`; the pairs (i, j) to visit.

    Every element of a `whole` pair is seen; an `edge` pair needs the mask.
    """

    batch: int
    heads: int
    queries: int
    keys: int
    parts: int
    heads_parts: int
    whole: tuple[tuple[int, int], ...]
    edge: tuple[tuple[int, int], ...]

    @property
    def indices(self) -> jax.Array:
        return jnp.arange(self.parts, dtype=jnp.int32)

    def place(self, index: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Which run of batch entries and which of key heads part `index` is."""
        return index // self.heads_parts, index % self.heads_parts


# In cache, and long enough for the products; 2 MiB of float32 logits at once.
DEFAULT = {"queries": 512, "keys": 512, "logits": 2**19}


def planned(direction: str, arrays: Arrays, settings: Settings) -> Plan:
    """Blocks that differ by less than 16 in length, and parts that divide the problems."""
    (batch, queries, heads, size), (_, keys, key_heads, _) = (x.shape for x in arrays[:2])
    blocks = chosen("kernels.attention", "xla", f"{direction} d{size}", DEFAULT)
    of_queries, of_keys = even(queries, blocks["queries"]), even(keys, blocks["keys"])
    room = max(1, blocks["logits"] // (of_queries * of_keys * (heads // key_heads)))
    of_heads = largest_divisor(key_heads, room)
    of_batch = largest_divisor(batch, room // key_heads) if of_heads == key_heads else 1
    whole, edge = pairs(queries, keys, of_queries, of_keys, settings)
    if arrays.q_segments_BxT is not None:
        whole, edge = (), whole + edge
    heads_parts = key_heads // of_heads
    parts = batch // of_batch * heads_parts
    return Plan(of_batch, of_heads, of_queries, of_keys, parts, heads_parts, whole, edge)


def even(length: int, most: int) -> int:
    """A block's length, at most about `most`: one block, or several of a multiple of 16."""
    if length <= most:
        return length
    count = -(-length // most)
    return -(-length // (16 * count)) * 16


def pairs(
    queries: int, keys: int, of_queries: int, of_keys: int, settings: Settings
) -> tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]]:
    """The pairs (i, j) of blocks that are seen whole, and those that are seen in part."""
    far = queries + keys
    left = far if settings.left is None else settings.left
    right = far if settings.right is None else settings.right
    i = np.arange(-(-queries // of_queries))[:, None]
    j = np.arange(-(-keys // of_keys))[None, :]
    first_i, last_i = i * of_queries, np.minimum((i + 1) * of_queries, queries) - 1
    first_j, last_j = j * of_keys, np.minimum((j + 1) * of_keys, keys) - 1
    seen = (first_j <= last_i + right) & (last_j >= first_i - left)
    whole = (last_j <= first_i + right) & (first_j >= last_i - left) & (first_j + of_keys <= keys)
    listed = (np.argwhere(which).tolist() for which in (seen & whole, seen & ~whole))
    whole_pairs, edge_pairs = (tuple((i, j) for i, j in pairs) for pairs in listed)
    return whole_pairs, edge_pairs


def visit(plan: Plan, step: Callable[..., Carry], carry: Carry) -> Carry:
    """`step(carry, i, j, masked)` over the plan's pairs."""
    for found, masked in ((plan.whole, False), (plan.edge, True)):
        if len(found) == 1:
            carry = step(carry, *found[0], masked)
        elif len(found):
            one = functools.partial(step_of_pair, step, masked)
            carry, _ = jax.lax.scan(one, carry, jnp.asarray(found, jnp.int32))
    return carry


def step_of_pair(
    step: Callable[..., Carry], masked: bool, carry: Carry, pair: jax.Array
) -> tuple[Carry, None]:
    return step(carry, pair[0], pair[1], masked), None
