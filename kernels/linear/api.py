"""`linear`: its arguments' checks, the choice of a backend, and the one custom gradient."""

import functools
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp

from kernels.dispatch import DTYPES, Implementation, choose

BACKENDS = ("reference", "xla_cpu", "xla")


def linear(
    x_xD: jax.Array,
    kernel_DxE: jax.Array,
    bias_E: jax.Array | None = None,
    *,
    dtype: Any = None,
    implementation: Implementation = "auto",
) -> jax.Array:
    """x @ kernel + bias over the last axis of x, (..., E), in x's dtype; differentiable in all.

    Factors are rounded to `dtype` (x's unless given), in the backward pass too; sums are float32.
    Of float32 factors an accelerator's products have JAX's default precision.
    So `dtype='bfloat16'` of float32 arrays has bfloat16's speed and keeps what is between products
    exact.

    `implementation` is 'auto', a name of `BACKENDS` or a sequence of names, of which the first runs
    that takes the call. Raises ValueError for arguments that don't fit, naming the argument.
    """
    check(x_xD, kernel_DxE, bias_E)
    dtype = x_xD.dtype if dtype is None else dtype_of(dtype)
    x_NxD = x_xD.reshape(-1, x_xD.shape[-1])
    backend = choose("kernels.linear", BACKENDS, implementation, x_NxD, kernel_DxE, bias_E)
    out_NxE = differentiable(backend, dtype, x_NxD, kernel_DxE, bias_E)
    return out_NxE.reshape(*x_xD.shape[:-1], -1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def differentiable(
    backend: ModuleType, dtype: Any, x: jax.Array, kernel: jax.Array, bias: jax.Array | None
) -> jax.Array:
    """`backend.product`; the gradients are its products with one factor turned."""
    return forward(backend, dtype, x, kernel, bias)[0]


def forward(
    backend: ModuleType, dtype: Any, x: jax.Array, kernel: jax.Array, bias: jax.Array | None
) -> tuple[jax.Array, Any]:
    factors = x.astype(dtype), kernel.astype(dtype)
    out = backend.product(*factors)
    out = out if bias is None else out + bias
    # Types alone: x and the kernel themselves needn't be kept where their factors are.
    return out.astype(x.dtype), (*factors, x[:0, :0], kernel[:0, :0], bias)


def backward(backend: ModuleType, dtype: Any, kept: Any, dout: jax.Array) -> Any:
    x, kernel, of_x, of_kernel, bias = kept
    dbias = None if bias is None else backend.over_rows(dout).astype(bias.dtype)
    dout = dout.astype(dtype)
    dx = backend.by_turned(dout, kernel).astype(of_x.dtype)
    dkernel = backend.of_turned(x, dout).astype(of_kernel.dtype)
    return dx, dkernel, dbias


differentiable.defvjp(forward, backward)


def dtype_of(dtype: Any) -> jnp.dtype:
    name = dtype if isinstance(dtype, str) else jnp.dtype(dtype).name
    if name not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {name}")
    return jnp.dtype(name)


def check(x: jax.Array, kernel: jax.Array, bias: jax.Array | None) -> None:
    if x.ndim < 1 or 0 in x.shape:
        raise ValueError(f"x must be (..., D) with no axis of size 0, got {x.shape}")
    if kernel.ndim != 2 or kernel.shape[0] != x.shape[-1] or kernel.shape[1] == 0:
        raise ValueError(f"kernel must be ({x.shape[-1]}, E), got {kernel.shape}")
    if bias is not None and bias.shape != kernel.shape[1:]:
        raise ValueError(f"bias must be ({kernel.shape[1]},), got {bias.shape}")
    for name, array in (("x", x), ("kernel", kernel), ("bias", bias)):
        if array is not None and array.dtype.name not in DTYPES:
            raise ValueError(f"{name} must be of {', '.join(DTYPES)}, got {array.dtype}")
