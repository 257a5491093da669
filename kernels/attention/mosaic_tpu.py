"""Attention on a TPU in Pallas: the value, with an online softmax over transposed logits."""

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl

from kernels.attention import mosaic_tpu_parts as parts
from kernels.attention.api import HIDES, Arrays, Settings
from kernels.attention.mosaic_tpu_backward import backward
from kernels.attention.mosaic_tpu_plan import LANES, Kind, Plan, chunks_seen, plan
from kernels.blocks import Blocks, chosen

__all__ = ["backward", "candidates", "forward", "refuses"]

# Where no key was seen yet: less than a logit to the base 2 whose bias doesn't hide it, yet finite,
# so that a difference to a hidden logit's -inf is no NaN.
LOWEST = 2 * HIDES
FORWARD: Blocks = {"q": 512, "k": 512, "tile": 128, "chunk": 128}


def refuses(arrays: Arrays, settings: Settings) -> str | None:
    """Why this backend doesn't take the call, or None."""
    size, dtype = arrays.q_BxTxHxD.shape[3], arrays.q_BxTxHxD.dtype.name
    if dtype == "float16":
        return "takes float32 and bfloat16, got float16"
    if size % 64 or size > 256:
        return f"takes head sizes 64, 128, 192 and 256, got {size}"
    return None


def forward(arrays: Arrays, settings: Settings) -> tuple[jax.Array, jax.Array]:
    """The output (B, T, H, D) and the logits' log-sum-exp (B, H, T), -inf where no key is seen.

    FlashAttention-2 (2307.08691), algorithm 1.
    """
    q, k, v = arrays[:3]
    batch, queries, heads, size = q.shape
    phase = "forward" if settings.left is settings.right is None else "forward band"
    blocks = chosen("kernels.attention", "mosaic_tpu", f"{phase} d{size}", FORWARD)
    shape = plan(arrays, settings, blocks)
    specs = parts.Specs(arrays, shape, by_keys=False)
    q_BxHxNxDxL = parts.in_lanes(parts.folded(q, settings.scale, settings.softcap), shape.queries)
    tiles = shape.q // LANES
    out, lse = parts.launch(
        functools.partial(forward_kernel, shape=shape, settings=settings),
        "attention_forward",
        arrays,
        shape,
        [
            (q_BxHxNxDxL, specs.q_lanes()),
            (parts.in_rows(k, shape.keys), specs.k_rows()),
            (parts.in_lanes(v, shape.keys), specs.k_lanes()),
        ],
        [
            (jax.ShapeDtypeStruct(q_BxHxNxDxL.shape, q.dtype), specs.q_lanes()),
            (
                jax.ShapeDtypeStruct((batch, heads, shape.queries // LANES, 1, LANES), jnp.float32),
                specs.q_lanes(1),
            ),
        ],
        [(tiles, 1, LANES), (tiles, 8, LANES), (tiles, size, LANES)],
        specs=specs,
        heads=heads,
        products=2,
    )
    return parts.from_lanes(out, queries), lse.reshape(batch, heads, -1)[:, :, :queries]


def forward_kernel(
    flags: jax.Array,
    masks: parts.Masks,
    q_ref: Any,
    k_ref: Any,
    v_ref: Any,
    out_ref: Any,
    lse_ref: Any,
    highest_ref: Any,
    total_ref: Any,
    sum_ref: Any,
    *,
    shape: Plan,
    settings: Settings,
) -> None:
    """One visit. `total` keeps eight partial sums of a query, `sum` the unnormalised output."""

    @pl.when(flags & 2 != 0)
    def start() -> None:
        highest_ref[...] = jnp.full_like(highest_ref, LOWEST)
        total_ref[...] = jnp.zeros_like(total_ref)
        sum_ref[...] = jnp.zeros_like(sum_ref)

    def visit_tile(kind: Kind, first: Any) -> None:
        q_DxQ = parts.tile_of(q_ref, first, shape.tile)
        state = [parts.tile_at(x, first, shape.tile) for x in (highest_ref, total_ref, sum_ref)]
        highest, total, sum_DxQ = state
        for c in chunks_seen(kind, shape, settings, first):
            s = parts.product(k_ref[0, 0, pl.ds(c, shape.chunk)], q_DxQ)
            s = parts.logits(s, kind, shape, settings, masks, c, first)
            higher = jnp.maximum(highest, jnp.max(s, axis=0, keepdims=True))
            p = jnp.exp2(s - higher)
            shrink = jnp.exp2(highest - higher)
            highest = higher
            total = shrink * total + parts.in_eight_rows(p)
            v_DxC = parts.tile_of(v_ref, c, shape.chunk)
            sum_DxQ = shrink * sum_DxQ + parts.product(v_DxC, p.astype(v_DxC.dtype))
        for ref, x in ((highest_ref, highest), (total_ref, total), (sum_ref, sum_DxQ)):
            parts.put_tile(ref, first, x)

    parts.for_each_tile_of_kind(flags, shape, visit_tile)

    @pl.when(flags & 1 != 0)
    def finish() -> None:
        def tile(n: Any, _: None) -> None:
            total = jnp.sum(total_ref[n], axis=0, keepdims=True)
            empty = total == 0
            out_ref[0, 0, n] = (sum_ref[n] * (1 / jnp.where(empty, 1, total))).astype(out_ref.dtype)
            lse = (highest_ref[n] + jnp.log2(total)) * (1 / parts.LOG2E)
            lse_ref[0, 0, n] = jnp.where(empty, -jnp.inf, lse)

        lax.fori_loop(0, total_ref.shape[0], tile, None)


def candidates(key: str) -> list[Blocks]:
    """Block choices worth compiling for a key of the table.

    Larger tiles and chunks, and key blocks of 1024 and more, keep too much for the registers: up to
    500 spills. At the edges of a band a few are spilled from key blocks of 512 on; those of 256
    spill nothing and run 1.6 times the bundles, so a band isn't offered them.
    """
    keys = (512,) if "band" in key else (256, 512)
    choices = itertools.product((512, 1024), keys)
    return [{"q": q, "k": k, "tile": 128, "chunk": 128} for q, k in choices]
