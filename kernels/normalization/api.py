"""`rms_norm` and `layer_norm`: their arguments' checks, the backend's choice, the one gradient."""

import dataclasses
import functools
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kernels.dispatch import DTYPES, Implementation, choose
from kernels.shares import on_shares

BACKENDS = ("reference", "xla", "mosaic_tpu", "triton")


class Arrays(NamedTuple):
    """What a backend's `forward` takes; `scale` and `bias` are float32, any offset added."""

    x_xD: jax.Array
    residual_xD: jax.Array | None
    scale_D: jax.Array | None
    bias_D: jax.Array | None


class Kept(NamedTuple):
    """What a backend's `backward` takes; `statistics` are what its `forward` chose to keep."""

    summed_xD: jax.Array
    scale_D: jax.Array | None
    bias_D: jax.Array | None
    statistics: Any


@dataclasses.dataclass(frozen=True)
class Settings:
    """`centered` is layer norm: the mean is taken away first."""

    centered: bool
    epsilon: float


def rms_norm(
    x: jax.Array,
    scale: jax.Array | None = None,
    *,
    residual: jax.Array | None = None,
    epsilon: float = 1e-6,
    offset: float = 0.0,
    implementation: Implementation = "auto",
) -> Any:
    """x / sqrt(mean(x^2) + epsilon) * (offset + scale) over the last axis of x, (..., D).

    `scale` is (D,), and `offset` is added to it (1 is Gemma's); without `scale` nothing is
    multiplied. With `residual` of x's shape, x + residual is normalized and the result is the pair
    (normed, x + residual): a pre-norm block's input and its stream. The sum is of residual's dtype,
    which may be wider than x's, and what is normalized is the sum as it is returned. `normed` is of
    x's dtype. All is computed in float32. Differentiable in x, scale and residual.

    `implementation` is 'auto', a name of `BACKENDS` or a sequence of names, of which the first runs
    that takes the call. Raises ValueError for arguments that don't fit, naming the argument.
    Zhang and Sennrich 2019 (1910.07467), equation 4.
    """
    if scale is None and offset:
        raise ValueError(f"offset must be 0 without scale, got {offset}")
    arrays = checked(x, residual, scale, None, offset)
    return run(arrays, Settings(centered=False, epsilon=positive(epsilon)), implementation)


def layer_norm(
    x: jax.Array,
    scale: jax.Array | None = None,
    bias: jax.Array | None = None,
    *,
    residual: jax.Array | None = None,
    epsilon: float = 1e-6,
    implementation: Implementation = "auto",
) -> Any:
    """(x - mean(x)) / sqrt(variance(x) + epsilon) * scale + bias over the last axis of x, (..., D).

    The variance is that of the D values, not an estimate. `scale` and `bias` are (D,) or None.
    `residual`, dtypes, gradients (also by bias), `implementation` and errors are those of
    `rms_norm`. Ba et al. 2016 (1607.06450), equation 4.
    """
    arrays = checked(x, residual, scale, bias, 0.0)
    return run(arrays, Settings(centered=True, epsilon=positive(epsilon)), implementation)


def run(arrays: Arrays, settings: Settings, implementation: Implementation) -> Any:
    backend = choose("kernels.normalization", BACKENDS, implementation, arrays, settings)
    normed, summed = differentiable(backend, settings, arrays)
    return normed if arrays.residual_xD is None else (normed, summed)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def differentiable(
    backend: ModuleType, settings: Settings, arrays: Arrays
) -> tuple[jax.Array, jax.Array | None]:
    """`backend.forward`'s normed, and its sum if there is a residual."""
    return forward(backend, settings, arrays)[0]


def forward(
    backend: ModuleType, settings: Settings, arrays: Arrays
) -> tuple[tuple[jax.Array, jax.Array | None], Kept]:
    normed, summed, statistics = on_shares(
        backend,
        lambda arrays: backend.forward(arrays, settings),
        arrays,
        batch=batch_of(arrays.x_xD),
        split=(has_rows(arrays),),
        split_out=True,
    )
    kept = Kept(summed, arrays.scale_D, arrays.bias_D, statistics)
    return (normed, None if arrays.residual_xD is None else summed), kept


def backward(
    backend: ModuleType,
    settings: Settings,
    kept: Kept,
    cotangents: tuple[jax.Array, jax.Array | None],
) -> tuple[Arrays]:
    """The sum's gradient is both x's and residual's."""
    dnormed, dsummed = cotangents
    dx, dscale, dbias = on_shares(
        backend,
        lambda kept, *cotangents: backend.backward(kept, settings, *cotangents),
        kept,
        *cotangents,
        batch=batch_of(kept.summed_xD),
        split=has_rows((kept, *cotangents)),
        split_out=(True, False, False),
    )
    dresidual = None if dsummed is None else dx
    return (Arrays(dx.astype(dnormed.dtype), dresidual, dscale, dbias),)


def batch_of(x_xD: jax.Array) -> int:
    return len(x_xD) if x_xD.ndim > 1 else 1


def has_rows(arrays: Any) -> Any:
    """Whether an array has a first axis to split: scale and bias have none."""
    return jax.tree.map(lambda array: array.ndim > 1, arrays)


differentiable.defvjp(forward, backward)


def checked(
    x: jax.Array,
    residual: jax.Array | None,
    scale: jax.Array | None,
    bias: jax.Array | None,
    offset: float,
) -> Arrays:
    """The arguments as backends take them; ValueError names what doesn't fit."""
    for name, array in (("x", x), ("residual", residual), ("scale", scale), ("bias", bias)):
        if array is not None and array.dtype.name not in DTYPES:
            raise ValueError(f"{name} must be of {', '.join(DTYPES)}, got {array.dtype}")
    if x.ndim == 0 or 0 in x.shape:
        raise ValueError(f"x must be (..., D) with no axis of size 0, got {x.shape}")
    if residual is not None and residual.shape != x.shape:
        raise ValueError(f"residual must have x's shape {x.shape}, got {residual.shape}")
    for name, array in (("scale", scale), ("bias", bias)):
        if array is not None and array.shape != x.shape[-1:]:
            raise ValueError(f"{name} must be (D,) = {x.shape[-1:]}, got {array.shape}")
    scale = None if scale is None else scale.astype(jnp.float32) + offset
    return Arrays(x, residual, scale, None if bias is None else bias.astype(jnp.float32))


def positive(epsilon: float) -> float:
    if not epsilon > 0:
        raise ValueError(f"epsilon must be positive, got {epsilon}")
    return float(epsilon)
