"""Attention's gradient on a TPU in Pallas: one kernel for keys and values, one for queries.

Each makes the weights anew from the log-sum-exp (FlashAttention-2, 2307.08691, algorithm 2), and
has one block's sums in float32 in VMEM, so that no sum is read back from memory and the bits don't
depend on an order of writes.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from kernels.attention import mosaic_tpu_parts as parts
from kernels.attention.api import Arrays, Settings
from kernels.attention.mosaic_tpu_plan import LANES, Kind, Plan, chunks_seen, plan
from kernels.blocks import Blocks, chosen

KEYS: Blocks = {"q": 512, "k": 256, "tile": 128, "chunk": 128}
QUERIES: Blocks = {"q": 512, "k": 512, "tile": 128, "chunk": 128}
# The log-sum-exp of a query that sees no key: its weights are 0.
NOTHING = 1e30


class Kept(NamedTuple):
    """What both kernels need of the forward pass and of the output's gradient."""

    dout_BxTxHxD: jax.Array
    lse_BxHxT: jax.Array  # to the base 2
    delta_BxHxT: jax.Array  # sums of dout * out


def backward(
    arrays: Arrays, settings: Settings, out: jax.Array, lse: jax.Array, dout: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array | None]:
    """The gradients by q, k, v and bias."""
    from kernels.attention.xla import bias_gradient

    both = out.astype(jnp.float32) * dout.astype(jnp.float32)
    to_base_2 = jnp.where(lse == -jnp.inf, NOTHING, lse * parts.LOG2E)
    kept = Kept(dout, to_base_2, jnp.sum(both, axis=-1).swapaxes(1, 2))
    dk, dv = keys_gradient(arrays, settings, kept)
    dbias = bias_gradient(arrays, settings, out, lse, dout)
    return queries_gradient(arrays, settings, kept), dk, dv, dbias


def keys_gradient(arrays: Arrays, settings: Settings, kept: Kept) -> tuple[jax.Array, jax.Array]:
    """dk and dv: for each block of keys, every query of its group of heads that sees it."""
    k = arrays.k_BxSxKxD
    size = k.shape[3]
    blocks = chosen("kernels.attention", "mosaic_tpu", f"keys_gradient d{size}", KEYS)
    shape = plan(arrays, settings, blocks, by_keys=True)
    specs = parts.Specs(arrays, shape, by_keys=True)
    rows = jax.ShapeDtypeStruct((k.shape[0], k.shape[2], shape.keys, size), k.dtype)
    dk, dv = parts.launch(
        functools.partial(keys_kernel, shape=shape, settings=settings),
        "attention_keys_gradient",
        arrays,
        shape,
        [
            *operands(arrays, settings, kept, shape, specs),
            (parts.in_rows(arrays.q_BxTxHxD, shape.queries), specs.q_rows()),
            (parts.in_rows(kept.dout_BxTxHxD, shape.queries), specs.q_rows()),
        ],
        [(rows, specs.k_rows()), (rows, specs.k_rows())],
        [(shape.k, size), (shape.k, size)],
        specs=specs,
        heads=k.shape[2],
        products=4,
    )
    return parts.from_rows(dk, k.shape[1]), parts.from_rows(dv, k.shape[1])


def queries_gradient(arrays: Arrays, settings: Settings, kept: Kept) -> jax.Array:
    """dq: for each block of queries, every key that it sees."""
    q = arrays.q_BxTxHxD
    size = q.shape[3]
    blocks = chosen("kernels.attention", "mosaic_tpu", f"queries_gradient d{size}", QUERIES)
    shape = plan(arrays, settings, blocks)
    specs = parts.Specs(arrays, shape, by_keys=False)
    given = operands(arrays, settings, kept, shape, specs)
    k_BxKxNxDxL = parts.in_lanes(arrays.k_BxSxKxD, shape.keys)
    (dq,) = parts.launch(
        functools.partial(queries_kernel, shape=shape, settings=settings),
        "attention_queries_gradient",
        arrays,
        shape,
        [*given, (k_BxKxNxDxL, specs.k_lanes())],
        [(jax.ShapeDtypeStruct(given[0][0].shape, q.dtype), specs.q_lanes())],
        [(shape.q // LANES, size, LANES)],
        specs=specs,
        heads=q.shape[2],
        products=3,
    )
    return parts.from_lanes(dq, q.shape[1])


def operands(
    arrays: Arrays, settings: Settings, kept: Kept, shape: Plan, specs: parts.Specs
) -> list[tuple[jax.Array, pl.BlockSpec]]:
    """What `weights` reads, in the order of `Operands`."""
    q, k, v = arrays[:3]
    return [
        (
            parts.in_lanes(parts.folded(q, settings.scale, settings.softcap), shape.queries),
            specs.q_lanes(),
        ),
        (parts.in_lanes(kept.dout_BxTxHxD, shape.queries), specs.q_lanes()),
        (parts.numbers_in_lanes(kept.lse_BxHxT, shape.queries, NOTHING), specs.q_lanes(1)),
        (parts.numbers_in_lanes(kept.delta_BxHxT, shape.queries), specs.q_lanes(1)),
        (parts.in_rows(k, shape.keys), specs.k_rows()),
        (parts.in_rows(v, shape.keys), specs.k_rows()),
    ]


class Operands(NamedTuple):
    """References to blocks of folded queries, dout, log-sum-exp and delta, and keys and values."""

    q: Any
    dout: Any
    lse: Any
    delta: Any
    k: Any
    v: Any


def weights(
    refs: Operands,
    kind: Kind,
    shape: Plan,
    settings: Settings,
    masks: parts.Masks,
    first_key: int,
    first_query: Any,
) -> tuple[jax.Array, jax.Array]:
    """The weights and the gradient of q.k times scale, (chunk, tile), in the operands' dtype."""
    q, dout, lse, delta = (parts.tile_of(x, first_query, shape.tile) for x in refs[:4])
    chunk = pl.ds(first_key, shape.chunk)
    raw = parts.product(refs.k[0, 0, chunk], q)
    s = parts.logits(raw, kind, shape, settings, masks, first_key, first_query)
    p = jnp.exp2(s - lse)
    ds = p * (parts.product(refs.v[0, 0, chunk], dout) - delta)
    if settings.softcap is not None:
        ds *= 1 - jnp.tanh(raw) ** 2
    return p.astype(q.dtype), ds.astype(q.dtype)


def keys_kernel(
    flags: jax.Array,
    masks: parts.Masks,
    *references: Any,
    shape: Plan,
    settings: Settings,
) -> None:
    refs = Operands(*references[:6])
    q_ref, dout_ref, dk_ref, dv_ref, dk_sum, dv_sum = references[6:]

    @pl.when(flags & 2 != 0)
    def start() -> None:
        dk_sum[...] = jnp.zeros_like(dk_sum)
        dv_sum[...] = jnp.zeros_like(dv_sum)

    def visit_tile(kind: Kind, first: Any) -> None:
        tile = pl.ds(first if isinstance(first, int) else pl.multiple_of(first, LANES), shape.tile)
        for c in chunks_seen(kind, shape, settings, first):
            p, ds = weights(refs, kind, shape, settings, masks, c, first)
            chunk = pl.ds(c, shape.chunk)
            dv_sum[chunk] += parts.product(p, dout_ref[0, 0, tile])
            dk_sum[chunk] += parts.product(ds, q_ref[0, 0, tile])

    parts.for_each_tile_of_kind(flags, shape, visit_tile)

    @pl.when(flags & 1 != 0)
    def finish() -> None:
        dk_ref[0, 0] = (dk_sum[...] * settings.scale).astype(dk_ref.dtype)
        dv_ref[0, 0] = dv_sum[...].astype(dv_ref.dtype)


def queries_kernel(
    flags: jax.Array,
    masks: parts.Masks,
    *references: Any,
    shape: Plan,
    settings: Settings,
) -> None:
    refs = Operands(*references[:6])
    k_ref, dq_ref, dq_sum = references[6:]

    @pl.when(flags & 2 != 0)
    def start() -> None:
        dq_sum[...] = jnp.zeros_like(dq_sum)

    def visit_tile(kind: Kind, first: Any) -> None:
        dq_DxQ = parts.tile_at(dq_sum, first, shape.tile)
        for c in chunks_seen(kind, shape, settings, first):
            _, ds = weights(refs, kind, shape, settings, masks, c, first)
            dq_DxQ += parts.product(parts.tile_of(k_ref, c, shape.chunk), ds)
        parts.put_tile(dq_sum, first, dq_DxQ)

    parts.for_each_tile_of_kind(flags, shape, visit_tile)

    @pl.when(flags & 1 != 0)
    def finish() -> None:
        dq_ref[0, 0] = (dq_sum[...] * settings.scale).astype(dq_ref.dtype)
