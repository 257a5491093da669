"""What the TPU kernels of attention share: arrays' layouts, a launch, the logits.

Logits stand transposed, keys in rows and queries in lanes: a maximum or a sum over keys is then
elementwise but for its last eight rows, what belongs to a query is one row, and with each operand
laid out for its product nothing is transposed inside a kernel.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from kernels.attention.api import Arrays, Settings, visible
from kernels.attention.mosaic_tpu_plan import LANES, Kind, Plan
from kernels.machine import pallas_interpreter

LOG2E = math.log2(math.e)


def in_rows(x_BxTxHxD: jax.Array, length: int) -> jax.Array:
    """(B, H, length, D), padded with zeros."""
    x = jnp.pad(x_BxTxHxD, [(0, 0), (0, length - x_BxTxHxD.shape[1]), (0, 0), (0, 0)])
    return x.transpose(0, 2, 1, 3)


def in_lanes(x_BxTxHxD: jax.Array, length: int) -> jax.Array:
    """(B, H, length / 128, D, 128): positions in lanes, so that each tile lies in one piece."""
    rows = in_rows(x_BxTxHxD, length)
    batch, heads, _, size = rows.shape
    return rows.reshape(batch, heads, -1, LANES, size).swapaxes(3, 4)


def from_rows(x_BxHxTxD: jax.Array, length: int) -> jax.Array:
    """`in_rows` undone."""
    return x_BxHxTxD[:, :, :length].transpose(0, 2, 1, 3)


def from_lanes(x_BxHxNxDxL: jax.Array, length: int) -> jax.Array:
    """`in_lanes` undone."""
    batch, heads, n, size, _ = x_BxHxNxDxL.shape
    rows = x_BxHxNxDxL.swapaxes(3, 4).reshape(batch, heads, n * LANES, size)
    return from_rows(rows, length)


def numbers_in_lanes(x_BxHxT: jax.Array, length: int, beyond: float = 0) -> jax.Array:
    """(B, H, length / 128, 1, 128) of a number a query, padded with `beyond`."""
    widths = [(0, 0), (0, 0), (0, length - x_BxHxT.shape[2])]
    x = jnp.pad(x_BxHxT, widths, constant_values=beyond)
    return x.reshape(*x.shape[:2], -1, 1, LANES)


def tile_at(ref: Any, first: Any, width: int) -> jax.Array:
    """Lanes `first` to `first + width` of a reference (N, D, 128), as (D, width)."""
    n = first >> 7  # of 128; a traced // would ask for the chip's generation
    return jnp.concatenate([ref[n + i] for i in range(width // LANES)], axis=1)


def tile_of(ref: Any, first: Any, width: int) -> jax.Array:
    """`tile_at` of a block (1, 1, N, D, 128)."""
    return tile_at(ref.at[0, 0], first, width)


def put_tile(ref: Any, first: Any, x_DxQ: jax.Array) -> None:
    """`tile_at`'s way back."""
    for i in range(x_DxQ.shape[1] // LANES):
        ref[(first >> 7) + i] = x_DxQ[:, i * LANES : (i + 1) * LANES]


def in_eight_rows(x_CxQ: jax.Array) -> jax.Array:
    """Sums of every eighth row: adds of whole registers."""
    return jnp.sum(x_CxQ.reshape(-1, 8, x_CxQ.shape[1]), axis=0)


def folded(q: jax.Array, scale: float, softcap: float | None) -> jax.Array:
    """q times what its logits are multiplied by: to the base 2, or within the softcap's tanh."""
    inner = LOG2E if softcap is None else 1 / softcap
    return (q.astype(jnp.float32) * (scale * inner)).astype(q.dtype)


def product(a: jax.Array, b: jax.Array) -> jax.Array:
    """a @ b summed in float32; float32 operands are not rounded to bfloat16."""
    precision = lax.Precision.HIGHEST if a.dtype == jnp.float32 else lax.Precision.DEFAULT
    return jnp.dot(a, b, precision=precision, preferred_element_type=jnp.float32)


class Masks(NamedTuple):
    """What is added to logits, or hides them: arrays, or a kernel's references; None if absent."""

    bias: Any  # (b, h, keys or 1, queries or 1), float32, to the base 2
    q_segments: Any  # (B, 1, N, 1, 128)
    k_segments: Any  # (B, keys, 1)


def masks_of(arrays: Arrays, shape: Plan) -> Masks:
    bias, q_segments, k_segments = arrays[3:]
    if bias is not None:
        bias = visible(bias.astype(jnp.float32)).swapaxes(2, 3) * LOG2E
        wanted = shape.keys, shape.queries
        more = [0 if n == 1 else m - n for n, m in zip(bias.shape[2:], wanted, strict=True)]
        bias = jnp.pad(bias, [(0, 0), (0, 0), *((0, n) for n in more)])
    if q_segments is not None and k_segments is not None:
        q_segments = numbers_in_lanes(q_segments[:, None], shape.queries)
        k_segments = jnp.pad(k_segments, [(0, 0), (0, shape.keys - k_segments.shape[1])])[..., None]
    return Masks(bias, q_segments, k_segments)


class Specs:
    """Block specs of a launch over (batch, head, visit); the heads are keys' if `by_keys`."""

    def __init__(self, arrays: Arrays, shape: Plan, by_keys: bool) -> None:
        self.shape = shape
        self.size = arrays.q_BxTxHxD.shape[3]
        group = arrays.q_BxTxHxD.shape[2] // arrays.k_BxSxKxD.shape[2]

        def query(b: Any, h: Any, n: Any, i: Any, j: Any, head: Any, flags: Any) -> tuple[Any, ...]:
            return b, h * group + head[n] if by_keys else h, i[n]

        def key(b: Any, h: Any, n: Any, i: Any, j: Any, head: Any, flags: Any) -> tuple[Any, ...]:
            return b, h if by_keys else h // group, j[n]

        self.query, self.key = query, key

    def q_rows(self) -> pl.BlockSpec:
        block = (1, 1, self.shape.q, self.size)
        return pl.BlockSpec(block, lambda *at: (*self.query(*at), 0))

    def k_rows(self) -> pl.BlockSpec:
        block = (1, 1, self.shape.k, self.size)
        return pl.BlockSpec(block, lambda *at: (*self.key(*at), 0))

    def q_lanes(self, size: int | None = None) -> pl.BlockSpec:
        block = (1, 1, self.shape.q // LANES, size or self.size, LANES)
        return pl.BlockSpec(block, lambda *at: (*self.query(*at), 0, 0))

    def k_lanes(self) -> pl.BlockSpec:
        block = (1, 1, self.shape.k // LANES, self.size, LANES)
        return pl.BlockSpec(block, lambda *at: (*self.key(*at), 0, 0))

    def masks(self, masks: Masks) -> list[pl.BlockSpec]:
        """Those of the masks that are there."""
        specs = []
        if masks.bias is not None:
            many = [n > 1 for n in masks.bias.shape]
            block = (1, 1, self.shape.k if many[2] else 1, self.shape.q if many[3] else 1)

            def of_bias(*at: Any) -> tuple[Any, ...]:
                b, h, i = self.query(*at)
                whole = b, h, self.key(*at)[2], i
                return tuple(x if n else 0 for x, n in zip(whole, many, strict=True))

            specs.append(pl.BlockSpec(block, of_bias))
        if masks.q_segments is not None:
            ids = (1, 1, self.shape.q // LANES, 1, LANES)
            specs.append(pl.BlockSpec(ids, lambda *at: (at[0], 0, self.query(*at)[2], 0, 0)))
            column = (1, self.shape.k, 1)
            specs.append(pl.BlockSpec(column, lambda *at: (at[0], self.key(*at)[2], 0)))
        return specs


def launch(
    kernel: Callable[..., None],
    name: str,
    arrays: Arrays,
    shape: Plan,
    operands: Sequence[tuple[jax.Array, pl.BlockSpec]],
    outputs: Sequence[tuple[jax.ShapeDtypeStruct, pl.BlockSpec]],
    scratch: Sequence[tuple[int, ...]],
    *,
    specs: Specs,
    heads: int,
    products: int,
) -> list[jax.Array]:
    """`kernel(flags, masks, *references)` on every visit of `heads` heads of each sequence.

    The references are of operands, outputs and `scratch` (float32). A visit makes `products`
    products of its block's size.
    """
    masks = masks_of(arrays, shape)
    present = [x for x in masks if x is not None]

    def body(i: Any, j: Any, head: Any, flags: Any, *references: Any) -> None:
        given, rest = references[: len(operands)], iter(references[len(operands) :])
        mask_references = Masks(*(None if x is None else next(rest) for x in masks))
        kernel(flags[pl.program_id(2)], mask_references, *given, *rest)

    batch = arrays.q_BxTxHxD.shape[0]
    pairs = batch * heads * shape.pairs
    moved = [*(x for x, _ in operands), *present, *(x for x, _ in outputs)]
    return pl.pallas_call(
        body,
        name=name,
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=4,
            grid=(batch, heads, len(shape.visits[0])),
            in_specs=[*(spec for _, spec in operands), *specs.masks(masks)],
            out_specs=[spec for _, spec in outputs],
            scratch_shapes=[pltpu.VMEM(size, jnp.float32) for size in scratch],
        ),
        out_shape=[like for like, _ in outputs],
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "parallel", "arbitrary")
        ),
        cost_estimate=pl.CostEstimate(
            flops=2 * products * pairs * arrays.q_BxTxHxD.shape[3],
            bytes_accessed=sum(x.size * x.dtype.itemsize for x in moved),
            transcendentals=pairs,
        ),
        interpret=pallas_interpreter(),
    )(*shape.visits, *(x for x, _ in operands), *present)


def logits(
    product_CxQ: jax.Array,
    kind: Kind,
    shape: Plan,
    settings: Settings,
    masks: Masks,
    first_key: int,
    first_query: Any,
) -> jax.Array:
    """Logits to the base 2 of a chunk of keys and a tile of queries; -inf is not seen.

    `first_query` is a number unless the block lies inside the band.
    """
    s = product_CxQ
    if settings.softcap is not None:
        s = jnp.tanh(s) * (settings.softcap * LOG2E)
    chunk = pl.ds(first_key, shape.chunk)
    if masks.bias is not None:
        rows = chunk if masks.bias.shape[2] > 1 else slice(None)
        wide = masks.bias.shape[3] > 1
        if wide and not isinstance(first_query, int):
            first_query = pl.multiple_of(first_query, LANES)
        s += masks.bias[0, 0, rows, pl.ds(first_query, shape.tile) if wide else slice(None)]
    conditions = []
    if masks.q_segments is not None:
        ids = tile_of(masks.q_segments, first_query, shape.tile)
        conditions.append(masks.k_segments[0, chunk] == ids)
    if first_key + shape.chunk > kind.keys:
        conditions.append(lax.broadcasted_iota(jnp.int32, s.shape, 0) < kind.keys - first_key)
    if kind.offset is not None:
        conditions += band(settings, kind.offset + first_key - first_query, s.shape)
    for condition in conditions:
        s = jnp.where(condition, s, -jnp.inf)
    return s


def band(settings: Settings, offset: int, shape: tuple[int, ...]) -> list[jax.Array]:
    """Of the edges that cross a tile whose first key and query are `offset` apart."""
    keys, queries = shape
    rows, columns = (lax.broadcasted_iota(jnp.int32, shape, axis) for axis in (0, 1))
    difference = rows - columns
    conditions = []
    if settings.left is not None and offset - (queries - 1) < -settings.left:
        conditions.append(difference >= -settings.left - offset)
    if settings.right is not None and offset + keys - 1 > settings.right:
        conditions.append(difference <= settings.right - offset)
    return conditions


def for_each_tile_of_kind(
    flags: jax.Array, shape: Plan, visit: Callable[[Kind, Any], None]
) -> None:
    """Runs `visit(kind, first query)` for the tiles of the block that `flags` are of.

    Where a block's tiles are alike it is a loop, so that one is compiled. Where they are not each
    is a branch, always taken, so that tiles are not scheduled into each other and spill; branches
    on one condition would be joined.
    """

    def tiles(kind: Kind) -> None:
        if kind.offset is None:
            lax.fori_loop(0, len(shape.tiles), lambda n, _: visit(kind, n * shape.tile), None)
            return
        for first in shape.tiles:
            pl.when(flags >= -first)(functools.partial(visit, kind, first))

    if len(shape.kinds) == 1:
        tiles(shape.kinds[0])
        return
    for n, kind in enumerate(shape.kinds):
        pl.when(flags >> 2 == n)(functools.partial(tiles, kind))
