"""RMS norm and layer norm in Triton: whole rows in registers, a few rows a program.

The gradients of scale and bias are a row a program, summed by XLA: no atomics, so the same bits
each time.
"""

from typing import Any

import jax
import jax.numpy as jnp
import triton
import triton.language as tl

from kernels.blocks import Blocks, chosen
from kernels.normalization.api import Arrays, Kept, Settings
from kernels.normalization.shapes import flops
from kernels.triton_call import triton_call

WIDEST = 16384


def refuses(arrays: Arrays, settings: Settings) -> str | None:
    size = arrays.x_xD.shape[-1]
    return f"takes D of at most {WIDEST}, not {size}" if size > WIDEST else None


def forward(arrays: Arrays, settings: Settings) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normed, the sum, and for the backward pass a row's 1 / deviation and mean, (2 or 1, R)."""
    x, size = arrays.x_xD, arrays.x_xD.shape[-1]
    rows = x.size // size
    blocks = blocks_of("forward", size)
    residual = arrays.residual_xD
    normed_xD, statistics, *summed_xD = triton_call(
        x,
        present(arrays.scale_D, x),
        present(arrays.bias_D, x),
        present(residual, x),
        kernel=forward_kernel,
        out=[
            jax.ShapeDtypeStruct(x.shape, x.dtype),
            jax.ShapeDtypeStruct((1 + settings.centered, rows), jnp.float32),
            *([] if residual is None else [jax.ShapeDtypeStruct(x.shape, residual.dtype)]),
        ],
        grid=(triton.cdiv(rows, blocks["rows"]),),
        flops=flops("forward", rows, size, settings.centered, residual is not None),
        num_warps=blocks["warps"],
        rows=rows,
        size=size,
        epsilon=settings.epsilon,
        centered=settings.centered,
        scaled=arrays.scale_D is not None,
        shifted=arrays.bias_D is not None,
        added=residual is not None,
        BLOCK_R=blocks["rows"],
        BLOCK_D=triton.next_power_of_2(size),
        **absent([] if residual is not None else ["summed_ptr"]),
    )
    return normed_xD, summed_xD[0] if summed_xD else x, statistics


def backward(
    kept: Kept, settings: Settings, dnormed_xD: jax.Array, dsummed_xD: jax.Array | None
) -> tuple[jax.Array, jax.Array | None, jax.Array | None]:
    summed, size = kept.summed_xD, kept.summed_xD.shape[-1]
    rows = summed.size // size
    blocks = blocks_of("backward", size)
    steps = triton.cdiv(triton.cdiv(rows, blocks["rows"]), blocks["programs"])
    programs = triton.cdiv(rows, steps * blocks["rows"])
    partial = jax.ShapeDtypeStruct((programs, size), jnp.float32)
    scaled, shifted = kept.scale_D is not None, kept.bias_D is not None
    dx_xD, *partials = triton_call(
        summed,
        kept.statistics,
        present(kept.scale_D, summed),
        dnormed_xD,
        present(dsummed_xD, summed),
        kernel=backward_kernel,
        out=[jax.ShapeDtypeStruct(summed.shape, summed.dtype), *[partial] * (scaled + shifted)],
        grid=(programs,),
        flops=flops("backward", rows, size, settings.centered, dsummed_xD is not None),
        num_warps=blocks["warps"],
        rows=rows,
        size=size,
        steps=steps,
        centered=settings.centered,
        scaled=scaled,
        shifted=shifted,
        added=dsummed_xD is not None,
        BLOCK_R=blocks["rows"],
        BLOCK_D=triton.next_power_of_2(size),
        **absent(["first_ptr", "second_ptr"][scaled + shifted :]),
    )
    sums = iter([jnp.sum(partial_PxD, axis=0) for partial_PxD in partials])
    return dx_xD, next(sums) if scaled else None, next(sums) if shifted else None


@triton.jit
def forward_kernel(
    x_ptr,
    scale_ptr,
    bias_ptr,
    residual_ptr,
    normed_ptr,
    statistics_ptr,
    summed_ptr,
    rows: tl.constexpr,
    size: tl.constexpr,
    epsilon: tl.constexpr,
    centered: tl.constexpr,
    scaled: tl.constexpr,
    shifted: tl.constexpr,
    added: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    row = tl.program_id(0) * BLOCK_R + tl.arange(0, BLOCK_R)
    column = tl.arange(0, BLOCK_D)
    inside = (row < rows)[:, None] & (column < size)[None, :]
    at = row.to(tl.int64)[:, None] * size + column[None, :]
    x = tl.load(x_ptr + at, mask=inside, other=0.0).to(tl.float32)
    if added:
        x += tl.load(residual_ptr + at, mask=inside, other=0.0).to(tl.float32)
        stored = x.to(summed_ptr.dtype.element_ty)
        tl.store(summed_ptr + at, stored, mask=inside)
        x = stored.to(tl.float32)
    if centered:
        mean = tl.sum(x, axis=1) / size
        tl.store(statistics_ptr + rows + row, mean, mask=row < rows)
        x = tl.where(inside, x - mean[:, None], 0.0)
    rstd = tl.rsqrt(tl.sum(x * x, axis=1) / size + epsilon)
    tl.store(statistics_ptr + row, rstd, mask=row < rows)
    normed = x * rstd[:, None]
    if scaled:
        normed *= tl.load(scale_ptr + column, mask=column < size, other=0.0)[None, :]
    if shifted:
        normed += tl.load(bias_ptr + column, mask=column < size, other=0.0)[None, :]
    tl.store(normed_ptr + at, normed.to(normed_ptr.dtype.element_ty), mask=inside)


@triton.jit
def backward_kernel(
    summed_ptr,
    statistics_ptr,
    scale_ptr,
    dnormed_ptr,
    dsummed_ptr,
    dx_ptr,
    first_ptr,
    second_ptr,
    rows: tl.constexpr,
    size: tl.constexpr,
    steps: tl.constexpr,
    centered: tl.constexpr,
    scaled: tl.constexpr,
    shifted: tl.constexpr,
    added: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """With n = (x - mean) rstd and w = dnormed scale, dx = (w - n mean(w n) - mean(w)) rstd."""
    program = tl.program_id(0)
    column = tl.arange(0, BLOCK_D)
    if scaled:
        scale = tl.load(scale_ptr + column, mask=column < size, other=0.0)
    dscale = tl.zeros((BLOCK_R, BLOCK_D), tl.float32)
    dbias = tl.zeros((BLOCK_R, BLOCK_D), tl.float32)
    for step in range(steps):
        row = (program * steps + step) * BLOCK_R + tl.arange(0, BLOCK_R)
        inside = (row < rows)[:, None] & (column < size)[None, :]
        at = row.to(tl.int64)[:, None] * size + column[None, :]
        normed = tl.load(summed_ptr + at, mask=inside, other=0.0).to(tl.float32)
        dnormed = tl.load(dnormed_ptr + at, mask=inside, other=0.0).to(tl.float32)
        rstd = tl.load(statistics_ptr + row, mask=row < rows, other=0.0)
        if centered:
            mean = tl.load(statistics_ptr + rows + row, mask=row < rows, other=0.0)
            normed -= mean[:, None]
        normed *= rstd[:, None]
        if shifted:
            dbias += dnormed
        weighted = dnormed
        if scaled:
            dscale += dnormed * normed
            weighted *= scale[None, :]
        dx = weighted - normed * (tl.sum(weighted * normed, axis=1) / size)[:, None]
        if centered:
            dx -= (tl.sum(weighted, axis=1) / size)[:, None]
        dx *= rstd[:, None]
        if added:
            dx += tl.load(dsummed_ptr + at, mask=inside, other=0.0).to(tl.float32)
        tl.store(dx_ptr + at, dx.to(dx_ptr.dtype.element_ty), mask=inside)
    if scaled:
        tl.store(first_ptr + program * size + column, tl.sum(dscale, axis=0), mask=column < size)
    if shifted:
        out_ptr = second_ptr if scaled else first_ptr
        tl.store(out_ptr + program * size + column, tl.sum(dbias, axis=0), mask=column < size)


def present(array: jax.Array | None, instead: jax.Array) -> jax.Array:
    """A kernel's pointers are by position: what is absent is any array, and not read."""
    return instead if array is None else array


def absent(last: list[str]) -> dict[str, Any]:
    """A kernel's last pointers that there is no output for."""
    return dict.fromkeys(last)


def blocks_of(direction: str, size: int) -> Blocks:
    default = defaults(direction, triton.next_power_of_2(size))
    return chosen("kernels.normalization", "triton", key(direction, size), default)


def key(direction: str, size: int) -> str:
    return f"{direction} d{size}"


def defaults(direction: str, columns: int) -> Blocks:
    """2048 elements a program, or a row; 16 a thread, whose 8 of bfloat16 are one load."""
    rows = max(1, 2048 // columns)
    warps = min(16, max(1, rows * columns // 512))
    return {"rows": rows, "warps": warps} | ({"programs": 256} if direction == "backward" else {})


def candidates(key: str) -> list[Blocks]:
    """Half and twice the elements a program and a thread.

    Not the number of programs, whose worth no compiler tells.
    """
    direction, size = key.split(" d")
    default = defaults(direction, triton.next_power_of_2(int(size)))
    rows, warps = (
        sorted({max(1, number // 2), number, 2 * number})
        for number in (default["rows"], default["warps"])
    )
    return [default | {"rows": r, "warps": w} for r in rows for w in warps if w <= 16]
