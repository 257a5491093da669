"""The calls of `rms_norm` and `layer_norm` that tests, benchmarks, compilers and tuners share."""

from typing import Any

import jax

from kernels.case import Case
from kernels.dispatch import Implementation
from kernels.normalization.api import layer_norm, rms_norm
from kernels.roofline import Work


def rms(
    x: jax.Array,
    scale: jax.Array,
    residual: jax.Array | None = None,
    *,
    implementation: Implementation,
) -> Any:
    """`rms_norm` with its arrays by position."""
    return rms_norm(x, scale, residual=residual, implementation=implementation)


def layer(
    x: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    residual: jax.Array | None = None,
    *,
    implementation: Implementation,
) -> Any:
    """`layer_norm` with its arrays by position."""
    return layer_norm(x, scale, bias, residual=residual, implementation=implementation)


def case(
    norm: Any,
    rows: int,
    size: int,
    *,
    residual: bool = False,
    dtype: str = "bfloat16",
    gradient: bool = False,
) -> Case:
    """`rms` or `layer` of (rows, size), with float32 scale and bias, by all of them."""
    x = jax.ShapeDtypeStruct((rows, size), dtype)
    vectors = [jax.ShapeDtypeStruct((size,), "float32")] * (1 if norm is rms else 2)
    arrays = (x, *vectors, *[x] * residual)
    return Case(
        norm,
        arrays,
        work(rows, size, x.dtype, centered=norm is layer, residual=residual, gradient=gradient),
        gradient=tuple(range(len(arrays))) if gradient else (),
    )


def work(
    rows: int, size: int, dtype: Any, *, centered: bool, residual: bool, gradient: bool
) -> Work:
    """Arrays of x's size that are moved, and operations; vectors count for nothing.

    Forward reads x (and residual) and writes normed (and the sum). Backward reads the sum and
    normed's gradient (and the sum's), and writes one gradient: x's is residual's.
    """
    moved = 2 + 2 * residual + gradient * (3 + residual)
    phases = ["forward", "backward"] if gradient else ["forward"]
    total = sum(flops(phase, rows, size, centered, residual) for phase in phases)
    return Work(total, float(moved * rows * size * dtype.itemsize))


def flops(phase: str, rows: int, size: int, centered: bool, residual: bool) -> float:
    """Operations of the forward or the backward pass, which are a few an element."""
    each = {"forward": 4, "backward": 9}[phase] + 3 * centered + residual
    return float(each * rows * size)


CASES = {
    "rms_4096": case(rms, 8192, 4096),
    "rms_gradient_4096": case(rms, 8192, 4096, gradient=True),
    "rms_residual_gradient_4096": case(rms, 8192, 4096, residual=True, gradient=True),
    "rms_heads_128": case(rms, 65536, 128, gradient=True),
    "layer_gradient_768": case(layer, 8192, 768, gradient=True),
    "layer_residual_gradient_1600": case(layer, 4096, 1600, residual=True, gradient=True),
    "layer_odd_1001": case(layer, 1027, 1001, residual=True, gradient=True),
    "layer_residual_gradient_16384": case(layer, 2048, 16384, residual=True, gradient=True),
    "rms_float32_2048": case(rms, 4096, 2048, residual=True, dtype="float32", gradient=True),
    "cpu_rms_1024": case(rms, 4096, 1024, dtype="float32"),
    "cpu_rms_gradient_1024": case(rms, 4096, 1024, dtype="float32", gradient=True),
    "cpu_layer_gradient_768": case(layer, 4096, 768, dtype="float32", gradient=True),
    "cpu_layer_residual_gradient_bfloat16": case(layer, 4096, 768, residual=True, gradient=True),
}
