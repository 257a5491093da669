"""Decode attention on a TPU in Pallas, over a dense cache or pages, with no copy of either.

A fetch's key heads and positions are one axis of rows. All query heads meet all rows in one
product, which streams each key through the matrix unit once whatever the number of queries; rows of
another head are masked. Logits stand with rows in sublanes and query heads in lanes.
"""

import functools
import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from kernels.attention.decode.api import Arrays, Settings
from kernels.attention.mosaic_tpu import LOWEST
from kernels.attention.mosaic_tpu_parts import LOG2E, folded
from kernels.blocks import Blocks, chosen
from kernels.machine import pallas_interpreter

# Rows (positions times key heads) of a fetch of a dense cache, and how many fetches a step makes.
DENSE: Blocks = {"rows": 2048, "fetches": 1}
PAGED: Blocks = {"fetches": 8}


def refuses(arrays: Arrays, settings: Settings) -> str | None:
    """Why this backend doesn't take the call, or None."""
    if arrays.q_BxHxD.dtype.name == "float16":
        return "takes float32 and bfloat16, got float16"
    if arrays.q_BxHxD.shape[2] % 64:
        return f"takes head sizes that are multiples of 64, got {arrays.q_BxHxD.shape[2]}"
    if arrays.pages_BxM is not None and arrays.k.shape[2] % 16:
        return f"takes pages of a multiple of 16 positions, got {arrays.k.shape[2]}"
    return None


def forward(arrays: Arrays, settings: Settings) -> jax.Array:
    """The output (B, H, D). Flash decoding's online softmax, a sequence after another.

    Positions beyond a length, or before the window, are not fetched: past the last block that is
    needed the same one is asked for again.
    """
    q, k, v, lengths, pages = arrays
    batch, heads, size = q.shape
    key_heads = k.shape[1]
    phase, default = ("dense", DENSE) if pages is None else ("paged", PAGED)
    key = f"{phase} d{size}"
    blocks = chosen("kernels.attention.decode", "mosaic_tpu", key, default)
    if pages is None:
        # Positions that fill registers, so that key heads and positions are one axis at no cost.
        whole = math.ceil(k.shape[2] / 16) * 16
        positions = min(whole, max(16, blocks["rows"] // key_heads // 16 * 16))
        count = math.ceil(k.shape[2] / positions)
    else:
        positions, count = k.shape[2], pages.shape[1]
        pages = jnp.clip(pages, 0, k.shape[0] - 1)
    if settings.window is not None:
        count = min(count, math.ceil(settings.window / positions) + 1)
    fetches = min(blocks["fetches"], count)
    rows = positions * key_heads

    def fetch(part: int) -> pl.BlockSpec:
        def index(b: Any, step: Any, lengths: Any, pages: Any = None) -> tuple[Any, ...]:
            first, last = needed(lengths[b], positions, settings)
            block = jnp.minimum(first + step * fetches + part, last)
            return (b, 0, block, 0) if pages is None else (pages[b, block], 0, 0, 0)

        return pl.BlockSpec((1, key_heads, positions, size), index)

    a_sequence = pl.BlockSpec((1, size, heads), lambda b, *_: (b, 0, 0))
    prefetched = [lengths] if pages is None else [lengths, pages]
    q_BxDxH = folded(q, settings.scale, settings.softcap).swapaxes(1, 2)
    out_BxDxH = pl.pallas_call(
        functools.partial(
            kernel,
            settings=settings,
            positions=positions,
            key_heads=key_heads,
            fetches=fetches,
            prefetched=len(prefetched),
        ),
        name=f"decode_attention_{phase}",
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=len(prefetched),
            grid=(batch, math.ceil(count / fetches)),
            in_specs=[
                a_sequence,
                pl.BlockSpec((rows, heads), lambda *_: (0, 0)),
                *(fetch(part) for _ in (k, v) for part in range(fetches)),
            ],
            out_specs=a_sequence,
            scratch_shapes=[
                pltpu.VMEM((1, heads), jnp.float32),
                pltpu.VMEM((1, heads), jnp.float32),
                pltpu.VMEM((size, heads), jnp.float32),
            ],
        ),
        out_shape=jax.ShapeDtypeStruct(q_BxDxH.shape, q.dtype),
        compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel", "arbitrary")),
        cost_estimate=pl.CostEstimate(
            flops=4 * batch * heads * count * rows * size,
            bytes_accessed=2 * batch * count * rows * size * k.dtype.itemsize,
            transcendentals=batch * heads * count * rows,
        ),
        interpret=pallas_interpreter(),
    )(
        *prefetched,
        q_BxDxH,
        of_own_head(rows, heads, key_heads),
        *(x for x in (k, v) for _ in range(fetches)),
    )
    return out_BxDxH.swapaxes(1, 2)


def needed(length: Any, positions: int, settings: Settings) -> tuple[Any, Any]:
    """The first and the last block that a sequence's query sees; block 0 of an empty sequence."""
    last = lax.div(jnp.maximum(length - 1, 0), positions)
    if settings.window is None:
        return 0, last
    return lax.div(jnp.maximum(length - 1 - settings.window, 0), positions), last


def of_own_head(rows: int, heads: int, key_heads: int) -> jax.Array:
    """0 where a row is of the key head that a query head reads, else -inf, (rows, heads)."""
    row, head = np.arange(rows)[:, None], np.arange(heads)[None, :]
    own = row // (rows // key_heads) == head // (heads // key_heads)
    return jnp.asarray(np.where(own, 0, -np.inf), jnp.float32)


def kernel(
    *references: Any,
    settings: Settings,
    positions: int,
    key_heads: int,
    fetches: int,
    prefetched: int,
) -> None:
    """One step of a sequence: `fetches` blocks of the cache."""
    lengths_ref = references[0]
    q_ref, own_ref, *caches = references[prefetched:-4]
    out_ref, highest_ref, total_ref, sum_ref = references[-4:]
    keys, values = caches[:fetches], caches[fetches:]
    length, step = lengths_ref[pl.program_id(0)], pl.program_id(1)
    first, last = needed(length, positions, settings)
    start = first + step * fetches

    @pl.when(step == 0)
    def begin() -> None:
        highest_ref[...] = jnp.full_like(highest_ref, LOWEST)
        total_ref[...] = jnp.zeros_like(total_ref)
        sum_ref[...] = jnp.zeros_like(sum_ref)

    def attend(part: int) -> None:
        place = (start + part) * positions
        seen = column_of_seen(key_heads, positions, place, length, settings)
        k, v = (x[part][0].reshape(key_heads * positions, -1) for x in (keys, values))
        # What lies beyond a length may be NaN.
        v = jnp.where(seen, v, jnp.zeros_like(v))
        precision = lax.Precision.HIGHEST if k.dtype == jnp.float32 else lax.Precision.DEFAULT
        exact: Any = dict(precision=precision, preferred_element_type=jnp.float32)
        s = jnp.dot(k, q_ref[0], **exact)
        if settings.softcap is not None:
            s = jnp.tanh(s) * (settings.softcap * LOG2E)
        s = jnp.where(seen, s + own_ref[...], -jnp.inf)
        highest = jnp.maximum(highest_ref[...], jnp.max(s, axis=0, keepdims=True))
        p = jnp.exp2(s - highest)
        shrink = jnp.exp2(highest_ref[...] - highest)
        highest_ref[...] = highest
        total_ref[...] = shrink * total_ref[...] + jnp.sum(p, axis=0, keepdims=True)
        contract_rows = (((0,), (0,)), ((), ()))
        more_DxH = lax.dot_general(v, p.astype(v.dtype), contract_rows, **exact)
        sum_ref[...] = shrink * sum_ref[...] + more_DxH

    for part in range(fetches):
        pl.when(start + part <= last)(functools.partial(attend, part))

    @pl.when(step == pl.num_programs(1) - 1)
    def finish() -> None:
        total = total_ref[...]
        out_ref[0] = (sum_ref[...] / jnp.where(total == 0, 1, total)).astype(out_ref.dtype)


def column_of_seen(
    key_heads: int, positions: int, place: Any, length: Any, settings: Settings
) -> jax.Array:
    """Which rows of a block, whose positions begin at `place`, are seen: (K * positions, 1)."""
    at = place + lax.broadcasted_iota(jnp.int32, (key_heads, positions, 1), 1)
    at = at.reshape(key_heads * positions, 1)
    seen = at < length
    if settings.window is not None:
        seen &= at >= length - 1 - settings.window
    return seen


def candidates(key: str) -> list[Blocks]:
    """Block choices worth compiling for a key of the table."""
    if key.startswith("paged"):
        return [{"fetches": n} for n in (1, 2, 4, 8, 16)]
    sizes = itertools.product((1024, 2048, 4096), (1, 2))
    return [{"rows": rows, "fetches": fetches} for rows, fetches in sizes]
