"""RMS norm and layer norm on a TPU: blocks of whole rows, a group of rows in registers at a time.

The backward pass makes the statistics anew: it reads the rows anyway, and an array (R, 1) takes a
tile of 128 lanes a row in a TPU's memory.
"""

import functools
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from kernels.blocks import Blocks, chosen, round_up
from kernels.machine import pallas_interpreter
from kernels.normalization.api import Arrays, Kept, Settings

LANES, SUBLANES, TILE = 128, 8, 16  # TILE: rows of a tile of 16-bit numbers
WIDEST = 16384
CHUNK = 1024  # columns at a time: a group's rows of them fit the registers


def refuses(arrays: Arrays, settings: Settings) -> str | None:
    given = [array.dtype.name for array in arrays[:2] if array is not None]
    if "float16" in given:
        return "float16 is no dtype of a TPU; bfloat16 is"
    size = arrays.x_xD.shape[-1]
    return f"takes D of at most {WIDEST}, not {size}" if size > WIDEST else None


def forward(arrays: Arrays, settings: Settings) -> tuple[jax.Array, jax.Array, None]:
    """Normed, of x's dtype; the sum that was normalized, of residual's; nothing for backward."""
    x, residual, scale, bias = map(rows_of, arrays)
    outputs = {"normed": like(x), "summed": like(residual)}
    kernel = functools.partial(forward_kernel, settings=settings)
    inputs = {"x": x, "residual": residual, "scale": scale, "bias": bias}
    normed, *summed = launch(kernel, "forward", inputs, outputs)
    shape = arrays.x_xD.shape
    return normed.reshape(shape), (summed[0].reshape(shape) if summed else arrays.x_xD), None


def backward(
    kept: Kept, settings: Settings, dnormed_xD: jax.Array, dsummed_xD: jax.Array | None
) -> tuple[jax.Array, jax.Array | None, jax.Array | None]:
    """The gradients of scale and bias are a row a program, summed here: the same bits each time."""
    summed, scale, bias = map(rows_of, kept[:3])
    dnormed, dsummed = map(rows_of, (dnormed_xD, dsummed_xD))
    inputs = {"summed": summed, "scale": scale, "dnormed": dnormed, "dsummed": dsummed}
    outputs = {"dx": like(summed), "dscale": like(scale), "dbias": like(bias)}
    kernel = functools.partial(backward_kernel, settings=settings, rows=summed.shape[0])
    dx, *partial_sums = launch(kernel, "backward", inputs, outputs)
    sums = iter([jnp.sum(partial_bx1xD, axis=(0, 1)) for partial_bx1xD in partial_sums])
    dscale_D, dbias_D = (None if array is None else next(sums) for array in (scale, bias))
    return dx.reshape(kept.summed_xD.shape), dscale_D, dbias_D


def forward_kernel(ref: SimpleNamespace, *, group: int, settings: Settings) -> None:
    size = ref.x.shape[-1]

    def of_group(rows: Any) -> None:
        source = ref.x
        if ref.residual is not None:
            source = ref.summed
            for columns in chunks(size):
                at = (rows, columns)
                ref.summed[at] = (exact(ref.x[at]) + exact(ref.residual[at])).astype(source.dtype)
        mean, rstd = statistics(source, rows, settings)
        for columns in chunks(size):
            normed = (exact(source[rows, columns]) - mean) * rstd
            if ref.scale is not None:
                normed *= ref.scale[:, columns]
            if ref.bias is not None:
                normed += ref.bias[:, columns]
            ref.normed[rows, columns] = normed.astype(ref.normed.dtype)

    each_group(of_group, ref.x.shape[0], group)


def backward_kernel(ref: SimpleNamespace, *, group: int, settings: Settings, rows: int) -> None:
    """With n = (x - mean) rstd and w = dnormed scale, dx = (w - n mean(w n) - mean(w)) rstd."""
    block, size = ref.summed.shape
    start = pl.program_id(0) * block
    sums = [array for array in (ref.dscale_sum, ref.dbias_sum) if array is not None]
    for array in sums:
        array[...] = jnp.zeros_like(array)

    def of_group(at: Any) -> None:
        mean, rstd = statistics(ref.summed, at, settings)
        along: Any = 0.0
        across: Any = 0.0
        for columns in chunks(size):
            normed, dnormed = read(at, columns, mean, rstd)
            along += row_sum(dnormed * weight(columns) * normed)
            if settings.centered:
                across += row_sum(dnormed * weight(columns))
            if ref.dscale is not None:
                ref.dscale_sum[:, columns] += folded(inside(at, dnormed * normed))
            if ref.dbias is not None:
                ref.dbias_sum[:, columns] += folded(inside(at, dnormed))
        for columns in chunks(size):
            normed, dnormed = read(at, columns, mean, rstd)
            dx = (dnormed * weight(columns) - normed * (along / size) - across / size) * rstd
            if ref.dsummed is not None:
                dx += exact(ref.dsummed[at, columns])
            ref.dx[at, columns] = dx.astype(ref.dx.dtype)

    def read(at: Any, columns: slice, mean: Any, rstd: Any) -> tuple[jax.Array, jax.Array]:
        normed = (exact(ref.summed[at, columns]) - mean) * rstd
        return normed, exact(ref.dnormed[at, columns])

    def weight(columns: slice) -> Any:
        return 1.0 if ref.scale is None else ref.scale[:, columns]

    def inside(at: Any, array: jax.Array) -> jax.Array:
        """The last block's rows past the end hold anything."""
        if rows % block == 0:
            return array
        index = jax.lax.broadcasted_iota(jnp.int32, (group, 1), 0)
        return jnp.where(start + at.start + index < rows, array, 0.0)

    each_group(of_group, block, group)
    for out, array in zip((ref.dscale, ref.dbias), (ref.dscale_sum, ref.dbias_sum), strict=True):
        if out is not None:
            out[...] = jnp.sum(array[...], axis=0, keepdims=True)


def statistics(source: Any, rows: Any, settings: Settings) -> tuple[Any, jax.Array]:
    """A row's mean (0 for RMS norm) and 1 / deviation, (rows, 1)."""
    size = source.shape[-1]
    mean: Any = 0.0
    if settings.centered:
        mean = sum(row_sum(exact(source[rows, columns])) for columns in chunks(size)) / size
    square = sum(
        row_sum(jnp.square(exact(source[rows, columns]) - mean)) for columns in chunks(size)
    )
    return mean, jax.lax.rsqrt(square / size + settings.epsilon)


def each_group(of_group: Any, block: int, group: int) -> None:
    """`of_group` for every group of the block's rows."""

    def body(index: Any, carry: None) -> None:
        of_group(pl.ds(index * group, group))

    jax.lax.fori_loop(0, block // group, body, None)


def chunks(size: int) -> Iterator[slice]:
    for start in range(0, size, CHUNK):
        yield slice(start, min(start + CHUNK, size))


def row_sum(array: jax.Array) -> jax.Array:
    return jnp.sum(array, axis=1, keepdims=True)


def folded(array: jax.Array) -> jax.Array:
    """Rows added to 8, a vector register's: no sum across sublanes until the end."""
    return jnp.sum(array.reshape(-1, SUBLANES, array.shape[1]), axis=0)


def exact(array: jax.Array) -> jax.Array:
    return array.astype(jnp.float32)


def launch(
    kernel: Any,
    direction: str,
    inputs: Mapping[str, jax.Array | None],
    outputs: Mapping[str, jax.ShapeDtypeStruct | None],
) -> list[jax.Array]:
    """`kernel` over blocks of rows, given its refs by name, None for what is absent.

    What is (1, D) is whole in every block; an output (1, D) is a row a block, (blocks, 1, D), that
    the kernel sums up in a scratch <name>_sum of 8 rows.
    """
    given = {name: array for name, array in inputs.items() if array is not None}
    made = {name: array for name, array in outputs.items() if array is not None}
    total, size = next(iter(given.values())).shape
    blocks = chosen(
        "kernels.normalization", "mosaic_tpu", key(direction, size), defaults(direction, size)
    )
    group = min(blocks["group"], round_up(total, TILE))
    rows = min(blocks["rows"], round_up(total, group))
    grid = pl.cdiv(total, rows)
    by_rows = pl.BlockSpec((rows, size), lambda i: (i, 0))
    whole = pl.BlockSpec((1, size), lambda i: (0, 0))
    a_row = pl.BlockSpec((None, 1, size), lambda i: (i, 0, 0))
    summed = [name for name, array in made.items() if name in ("dscale", "dbias")]

    def body(*refs: Any) -> None:
        absent = dict.fromkeys([*inputs, *outputs, "dscale_sum", "dbias_sum"])
        names = [*given, *made, *(f"{name}_sum" for name in summed)]
        kernel(SimpleNamespace(**absent | dict(zip(names, refs, strict=True))), group=group)

    shapes = [
        jax.ShapeDtypeStruct((grid, 1, size), jnp.float32) if name in summed else array
        for name, array in made.items()
    ]
    return pl.pallas_call(
        body,
        out_shape=shapes,
        grid=(grid,),
        in_specs=[whole if name in ("scale", "bias") else by_rows for name in given],
        out_specs=[a_row if name in summed else by_rows for name in made],
        scratch_shapes=[pltpu.VMEM((SUBLANES, size), jnp.float32) for _ in summed],
        compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel",)),
        cost_estimate=pl.CostEstimate(
            flops=10 * total * size,
            transcendentals=total,
            bytes_accessed=sum(map(bytes_of, [*given.values(), *shapes])),
        ),
        interpret=pallas_interpreter(),
        name=f"normalization_{direction}",
    )(*given.values())


def key(direction: str, size: int) -> str:
    return f"{direction} d{size}"


def defaults(direction: str, size: int) -> Blocks:
    """Blocks of 512 KiB in bfloat16, in groups that are 32 registers of float32, backward 16.

    More rows in a group overlap more sums across lanes, which are slow to arrive; the backward pass
    holds twice the arrays.
    """
    lanes = round_up(size, LANES)
    group = max(TILE, {"forward": 2**15, "backward": 2**14}[direction] // lanes // TILE * TILE)
    return {"rows": max(group, 2**18 // lanes // group * group), "group": group}


def candidates(key: str) -> list[Blocks]:
    """Half and twice the rows of a group, in blocks of the default's size and half of it."""
    direction, size = key.split(" d")
    default = defaults(direction, int(size))
    groups = {max(TILE, default["group"] * n // 2 // TILE * TILE) for n in (1, 2, 4)}
    rows = [default["rows"], default["rows"] // 2]
    return [{"rows": max(g, r // g * g), "group": g} for g in sorted(groups) for r in rows]


def bytes_of(array: Any) -> int:
    return array.size * array.dtype.itemsize


def rows_of(array: jax.Array | None) -> Any:
    """(R, D), R = 1 for a vector."""
    return None if array is None else array.reshape(-1, array.shape[-1])


def like(array: jax.Array | None) -> jax.ShapeDtypeStruct | None:
    return None if array is None else jax.ShapeDtypeStruct(array.shape, array.dtype)
