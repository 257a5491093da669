"""Decode attention in plain JAX, the CPU's own: a step is bound by the bytes of the cache.

A head's keys and values lie together, so that its product with a query reads them as they lie. A
dense cache that is mostly seen is read whole, by all threads; else each sequence reads the blocks
that it sees, one after the other.
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
    if arrays.pages_BxM is not None:
        return blocks()
    seen_BxS = positions_seen(settings, arrays)
    whole = functools.partial(at_once, settings, arrays, seen_BxS)
    if seen_BxS.shape[1] <= SHORT:
        return whole()
    # A whole pass takes a third of the time that the blocks of it all would.
    return jax.lax.cond(3 * jnp.sum(seen_BxS) >= seen_BxS.size, whole, blocks)


def positions_seen(settings: Settings, arrays: Arrays) -> jax.Array:
    """Which of a dense cache's positions each row's query sees, (B, S)."""
    at_S, last_Bx1 = jnp.arange(arrays.k.shape[2]), arrays.lengths_B[:, None] - 1
    if settings.window is None:
        return at_S <= last_Bx1
    return (at_S <= last_Bx1) & (at_S >= last_Bx1 - settings.window)


def at_once(settings: Settings, arrays: Arrays, seen_BxS: jax.Array) -> jax.Array:
    """The output by one softmax over all positions."""
    q_BxKxGxD = by_key_heads(settings, arrays)
    logits_BxKxGxS = product("bkgd,bksd->bkgs", q_BxKxGxD, arrays.k)
    if settings.softcap is not None:
        logits_BxKxGxS = settings.softcap * jnp.tanh(logits_BxKxGxS / settings.softcap)
    logits_BxKxGxS = jnp.where(seen_BxS[:, None, None], logits_BxKxGxS, -jnp.inf)
    highest = jnp.max(logits_BxKxGxS, axis=-1, keepdims=True)
    weights_BxKxGxS = jnp.exp(logits_BxKxGxS - jnp.where(highest == -jnp.inf, 0, highest))
    total = jnp.sum(weights_BxKxGxS, axis=-1, keepdims=True)
    sums_BxKxGxD = product("bkgs,bksd->bkgd", weights_BxKxGxS, arrays.v)
    out = sums_BxKxGxD / jnp.where(total == 0, 1, total)
    return out.reshape(arrays.q_BxHxD.shape).astype(arrays.q_BxHxD.dtype)


def by_key_heads(settings: Settings, arrays: Arrays) -> jax.Array:
    """The scaled queries (B, K, G, D), float32: the G of each of K key heads."""
    batch, _, size = arrays.q_BxHxD.shape
    q_BxHxD = settings.scale * arrays.q_BxHxD.astype(jnp.float32)
    return q_BxHxD.reshape(batch, arrays.k.shape[1], -1, size)


def product(spec: str, rows: jax.Array, cache: jax.Array) -> jax.Array:
    """Rows (..., G, _) times keys or values by factors of the cache's dtype, float32."""
    single = rows.shape[-2] == 1 and cache.dtype != jnp.float32
    if single:  # XLA takes a lone row to float32 number by number; two are bfloat16's own product
        rows = jnp.broadcast_to(rows, (*rows.shape[:-2], 2, rows.shape[-1]))
    exact: Any = dict(precision="highest", preferred_element_type=jnp.float32)
    out = jnp.einsum(spec, rows.astype(cache.dtype), cache, **exact)
    return out[..., :1, :] if single else out


def by_blocks(most: int, settings: Settings, arrays: Arrays) -> jax.Array:
    """The output by an online softmax over the blocks that each sequence sees."""
    keys, block = reader(most, arrays)
    q_BxKxGxD = by_key_heads(settings, arrays)

    def one(b: jax.Array) -> jax.Array:
        length = arrays.lengths_B[b]
        first = 0 if settings.window is None else jnp.maximum(length - 1 - settings.window, 0)
        q_KxGxD = q_BxKxGxD[b]

        def step(j: jax.Array, carry: Any) -> Any:
            k, v, at_S = block(b, j)
            seen_S = (at_S >= jnp.maximum(first, j * keys)) & (at_S < length)
            return softmax_step(settings, q_KxGxD, k, v, seen_S, carry)

        none = jnp.zeros_like(q_KxGxD[..., 0])
        start = none - jnp.inf, none, jnp.zeros_like(q_KxGxD)
        _, total, sums = jax.lax.fori_loop(first // keys, -(-length // keys), step, start)
        return sums / jnp.where(total == 0, 1, total)[..., None]

    out_BxKxGxD = jax.lax.map(one, jnp.arange(len(q_BxKxGxD), dtype=jnp.int32))
    return out_BxKxGxD.reshape(arrays.q_BxHxD.shape).astype(arrays.q_BxHxD.dtype)


def softmax_step(
    settings: Settings,
    q_KxGxD: jax.Array,
    k_KxSxD: jax.Array,
    v_KxSxD: jax.Array,
    seen_S: jax.Array,
    carry: Any,
) -> Any:
    """A block's share of each head's maximum, sum of weights and weighted values."""
    highest, total, sums = carry
    logits_KxGxS = product("kgd,ksd->kgs", q_KxGxD, k_KxSxD)
    if settings.softcap is not None:
        logits_KxGxS = settings.softcap * jnp.tanh(logits_KxGxS / settings.softcap)
    logits_KxGxS = jnp.where(seen_S, logits_KxGxS, -jnp.inf)
    new = jnp.maximum(highest, jnp.max(logits_KxGxS, axis=-1))
    base = jnp.where(new == -jnp.inf, 0, new)
    weights_KxGxS = jnp.exp(logits_KxGxS - base[..., None])
    kept = jnp.exp(highest - base)
    # In pages what isn't seen may be anything, NaN too: its weight 0 isn't enough.
    v_KxSxD = jnp.where(seen_S[:, None], v_KxSxD, 0)
    values = product("kgs,ksd->kgd", weights_KxGxS, v_KxSxD)
    return new, total * kept + jnp.sum(weights_KxGxS, axis=-1), sums * kept[..., None] + values


def reader(most: int, arrays: Arrays) -> tuple[int, Callable[[Any, Any], Any]]:
    """How many positions a block has, and block j of sequence b: k, v and their positions."""
    _, key_heads, length, size = arrays.k.shape
    if arrays.pages_BxM is None:
        keys = min(most, length)

        def dense(b: Any, j: Any) -> Any:
            start = jnp.minimum(j * keys, length - keys)  # the last block reaches back
            where, shape = (b, jnp.int32(0), start, jnp.int32(0)), (1, key_heads, keys, size)
            k, v = (jax.lax.dynamic_slice(x, where, shape)[0] for x in (arrays.k, arrays.v))
            return k, v, start + jnp.arange(keys)

        return keys, dense

    table_BxM = arrays.pages_BxM
    count = min(max(1, most // length), table_BxM.shape[1])
    table_BxM = jnp.pad(table_BxM, [(0, 0), (0, -table_BxM.shape[1] % count)])

    def paged(b: Any, j: Any) -> Any:
        pages = jax.lax.dynamic_slice(table_BxM, (b, j * count), (1, count))[0]
        pages = jnp.clip(pages, 0, arrays.k.shape[0] - 1)
        k, v = (x[pages].swapaxes(0, 1) for x in (arrays.k, arrays.v))
        k, v = (x.reshape(key_heads, -1, size) for x in (k, v))
        return k, v, j * count * length + jnp.arange(count * length)

    return count * length, paged
