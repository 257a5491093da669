"""The calls of decode attention that tests, benchmarks, compilers and the tuner share."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from kernels.attention.decode.api import decode_attention, paged_decode_attention
from kernels.case import Case, Drawing
from kernels.roofline import Work


def case(
    batch: int,
    length: int,
    heads: int,
    key_heads: int,
    size: int,
    *,
    page: int | None = None,
    dtype: str = "bfloat16",
    **settings: Any,
) -> Case:
    """Every sequence is as long as its cache; its pages are its own, and lie in any order."""
    q = jax.ShapeDtypeStruct((batch, heads, size), dtype)
    lengths = jax.ShapeDtypeStruct((batch,), "int32")
    seen = in_reach(length, settings.get("window"))
    work = Work(
        flops(q.shape, seen),
        2.0 * batch * key_heads * seen * size * q.dtype.itemsize,
        q.dtype.name,
    )
    cache: tuple[int, ...] = (batch, key_heads, length, size)
    if page is not None:
        cache = (batch * length // page, key_heads, page, size)
    kv = jax.ShapeDtypeStruct(cache, dtype)
    arrays = (q, kv, kv, lengths)
    draws: dict[int, Drawing] = {3: lambda _: jnp.full(lengths.shape, length)}
    if page is None:
        return Case(decode_attention, arrays, work, settings, draws=draws)
    table = jax.ShapeDtypeStruct((batch, length // page), "int32")
    draws[4] = lambda rng: jax.random.permutation(rng, table.size).reshape(table.shape)
    return Case(paged_decode_attention, (*arrays, table), work, settings, draws=draws)


def in_reach(length: int, window: int | None) -> int:
    """How many positions the newest of a sequence sees."""
    return length if window is None else min(length, window + 1)


def flops(shape: tuple[int, ...], seen: int) -> float:
    """Two products of every query of `shape` (B, H, D) and position that it sees."""
    return 4.0 * math.prod(shape) * seen


CASES = {
    "dense_2048": case(16, 2048, 16, 16, 128),
    "grouped_8192": case(8, 8192, 32, 8, 128),
    "window_8192": case(8, 8192, 32, 8, 128, window=1023),
    "d64_1024": case(16, 1024, 12, 12, 64),
    "float32_1024": case(16, 1024, 12, 12, 64, dtype="float32"),
    "d256_8192": case(8, 8192, 8, 4, 256),
    "paged_8192": case(8, 8192, 32, 8, 128, page=64),
    "cpu_1024": case(1, 1024, 12, 12, 64, dtype="float32"),
    "cpu_grouped_2048": case(8, 2048, 32, 8, 128, dtype="float32"),
    "cpu_paged_2048": case(8, 2048, 32, 8, 128, page=64, dtype="float32"),
}
