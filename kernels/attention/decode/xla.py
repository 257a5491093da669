"""Decode attention in plain JAX, the CPU's own: a step is bound by the bytes of the cache.

One query has nothing to share a key with. Products and sums are one fused loop over keys or values
as they lie: XLA's matrix products would first put the heads before the positions, a copy of the
cache. A dense cache that is mostly seen, of heads with keys of their own, is read whole, by all
threads; else each sequence reads the blocks that it sees, one after the other.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from kernels.attention.decode.api import Arrays, Settings
from kernels.blocks import chosen

DEFAULT = {"keys": 256}
SHORT = 512  # positions: to read so many is cheaper than to ask how many are seen


def refuses(arrays: Arrays, settings: Settings) -> None:
    """Takes every call."""


def forward(arrays: Arrays, settings: Settings) -> jax.Array:
    """The output (B, H, D)."""
    blocks = chosen("kernels.attention.decode", "xla", f"d{arrays.k.shape[-1]}", DEFAULT)
    return forward_by(blocks["keys"], settings, arrays)


@functools.partial(jax.jit, static_argnums=(0, 1))
def forward_by(most: int, settings: Settings, arrays: Arrays) -> jax.Array:
    blocks = functools.partial(by_blocks, most, settings, arrays)
    if arrays.pages_BxM is not None or arrays.q_BxHxD.shape[1] != arrays.k.shape[2]:
        return blocks()
    seen_BxS = positions_seen(settings, arrays)
    whole = functools.partial(at_once, settings, arrays, seen_BxS)
    if seen_BxS.shape[1] <= SHORT:
        return whole()
    # A whole pass takes a third of the time that the blocks of it all would.
    return jax.lax.cond(3 * jnp.sum(seen_BxS) >= seen_BxS.size, whole, blocks)


def positions_seen(settings: Settings, arrays: Arrays) -> jax.Array:
    """Which of a dense cache's positions each row's query sees, (B, S)."""
    at_S, last_Bx1 = jnp.arange(arrays.k.shape[1]), arrays.lengths_B[:, None] - 1
    if settings.window is None:
        return at_S <= last_Bx1
    return (at_S <= last_Bx1) & (at_S >= last_Bx1 - settings.window)


def at_once(settings: Settings, arrays: Arrays, seen_BxS: jax.Array) -> jax.Array:
    """The output by one softmax over all positions; each head has keys of its own."""
    q_Bx1xHxD = settings.scale * arrays.q_BxHxD.astype(jnp.float32)[:, None]
    k_BxSxHxD, v_BxSxHxD = arrays.k.astype(jnp.float32), arrays.v.astype(jnp.float32)
    logits_BxSxH = jnp.sum(q_Bx1xHxD * k_BxSxHxD, axis=-1)
    if settings.softcap is not None:
        logits_BxSxH = settings.softcap * jnp.tanh(logits_BxSxH / settings.softcap)
    logits_BxSxH = jnp.where(seen_BxS[..., None], logits_BxSxH, -jnp.inf)
    highest = jnp.max(logits_BxSxH, axis=1, keepdims=True)
    weights_BxSxH = jnp.exp(logits_BxSxH - jnp.where(highest == -jnp.inf, 0, highest))
    total = jnp.sum(weights_BxSxH, axis=1)[..., None]
    # XLA would sum within the product that follows the call, and that on one core.
    sums_BxHxD = jax.lax.optimization_barrier(jnp.sum(weights_BxSxH[..., None] * v_BxSxHxD, axis=1))
    return (sums_BxHxD / jnp.where(total == 0, 1, total)).astype(arrays.q_BxHxD.dtype)


def by_blocks(most: int, settings: Settings, arrays: Arrays) -> jax.Array:
    """The output by an online softmax over the blocks that each sequence sees."""
    keys, block = reader(most, arrays)
    batch, heads, size = arrays.q_BxHxD.shape
    key_heads = arrays.k.shape[2]
    q_BxKxGxD = arrays.q_BxHxD.astype(jnp.float32).reshape(batch, key_heads, -1, size)

    def one(b: jax.Array) -> jax.Array:
        length = arrays.lengths_B[b]
        first = 0 if settings.window is None else jnp.maximum(length - 1 - settings.window, 0)
        q_KxGxD = settings.scale * q_BxKxGxD[b]

        def step(j: jax.Array, carry: Any) -> Any:
            k, v, at_S = block(b, j)
            seen_S = (at_S >= jnp.maximum(first, j * keys)) & (at_S < length)
            return softmax_step(settings, q_KxGxD, k, v, seen_S, carry)

        none = jnp.zeros(q_KxGxD.shape[:2])
        start = none - jnp.inf, none, jnp.zeros_like(q_KxGxD)
        _, total, sums = jax.lax.fori_loop(first // keys, -(-length // keys), step, start)
        return sums / jnp.where(total == 0, 1, total)[..., None]

    out_BxKxGxD = jax.lax.map(one, jnp.arange(batch))
    return out_BxKxGxD.reshape(batch, heads, size).astype(arrays.q_BxHxD.dtype)


def softmax_step(
    settings: Settings,
    q_KxGxD: jax.Array,
    k_SxKxD: jax.Array,
    v_SxKxD: jax.Array,
    seen_S: jax.Array,
    carry: Any,
) -> Any:
    """A block's share of each head's maximum, sum of weights and weighted values."""
    highest, total, sums = carry
    k, v = (x.astype(jnp.float32)[:, :, None] for x in (k_SxKxD, v_SxKxD))
    logits_SxKxG = jnp.sum(q_KxGxD * k, axis=-1)
    if settings.softcap is not None:
        logits_SxKxG = settings.softcap * jnp.tanh(logits_SxKxG / settings.softcap)
    seen = seen_S[:, None, None]
    logits_SxKxG = jnp.where(seen, logits_SxKxG, -jnp.inf)
    new = jnp.maximum(highest, jnp.max(logits_SxKxG, axis=0))
    base = jnp.where(new == -jnp.inf, 0, new)
    weights = jnp.exp(logits_SxKxG - base)
    kept = jnp.exp(highest - base)
    # In pages what isn't seen may be anything, NaN too: its weight 0 isn't enough.
    values = jnp.sum(jnp.where(seen[..., None], weights[..., None] * v, 0), axis=0)
    return new, total * kept + jnp.sum(weights, axis=0), sums * kept[..., None] + values


def reader(most: int, arrays: Arrays) -> tuple[int, Callable[[Any, Any], Any]]:
    """How many positions a block has, and block j of sequence b: k, v and their positions."""
    _, length, key_heads, size = arrays.k.shape
    if arrays.pages_BxM is None:
        keys = min(most, length)

        def dense(b: Any, j: Any) -> Any:
            start = jnp.minimum(j * keys, length - keys)  # the last block reaches back
            where, shape = (b, start, 0, 0), (1, keys, key_heads, size)
            k, v = (jax.lax.dynamic_slice(x, where, shape)[0] for x in (arrays.k, arrays.v))
            return k, v, start + jnp.arange(keys)

        return keys, dense

    table_BxM = arrays.pages_BxM
    count = min(max(1, most // length), table_BxM.shape[1])
    table_BxM = jnp.pad(table_BxM, [(0, 0), (0, -table_BxM.shape[1] % count)])

    def paged(b: Any, j: Any) -> Any:
        pages = jax.lax.dynamic_slice(table_BxM, (b, j * count), (1, count))[0]
        pages = jnp.clip(pages, 0, arrays.k.shape[0] - 1)
        k, v = (x[pages].reshape(-1, key_heads, size) for x in (arrays.k, arrays.v))
        return k, v, j * count * length + jnp.arange(count * length)

    return count * length, paged
