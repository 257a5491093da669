"""RMS norm and layer norm in plain JAX with a derivative by hand: the CPU's default.

XLA's CPU compiler shares what two reductions have in common by writing it out: an array of x's size
each time. `apart` gives each pass over x its own copy of the expression, so that nothing of x's
size is written but the result.
"""

import jax
import jax.numpy as jnp

from kernels.normalization.api import Arrays, Kept, Settings
from kernels.normalization.reference import total

apart = jax.lax.optimization_barrier


def refuses(arrays: Arrays, settings: Settings) -> None:
    """Takes every call."""


def forward(
    arrays: Arrays, settings: Settings
) -> tuple[jax.Array, jax.Array, tuple[jax.Array | None, jax.Array]]:
    """Normed, the sum, and for the backward pass a row's mean and 1 / deviation, (..., 1)."""
    summed_xD = total(arrays)
    mean_x1 = mean(exact(summed_xD)) if settings.centered else None
    square_x1 = mean(jnp.square(centered(summed_xD, mean_x1)))
    rstd_x1 = jax.lax.rsqrt(square_x1 + settings.epsilon)
    normed_xD = centered(summed_xD, mean_x1) * rstd_x1
    if arrays.scale_D is not None:
        normed_xD *= arrays.scale_D
    if arrays.bias_D is not None:
        normed_xD += arrays.bias_D
    return normed_xD.astype(arrays.x_xD.dtype), summed_xD, (mean_x1, rstd_x1)


def backward(
    kept: Kept, settings: Settings, dnormed_xD: jax.Array, dsummed_xD: jax.Array | None
) -> tuple[jax.Array, jax.Array | None, jax.Array | None]:
    """With n = (x - mean) rstd and w = dnormed scale, dx = (w - n mean(w n) - mean(w)) rstd."""
    mean_x1, rstd_x1 = kept.statistics
    given = (kept.summed_xD, kept.scale_D, mean_x1, dnormed_xD)
    along_x1 = apart(mean_of_product(*apart(given)) * jnp.square(rstd_x1))
    dx_xD = weighted(dnormed_xD, kept.scale_D)
    if settings.centered:
        dx_xD -= apart(mean(weighted(*apart((dnormed_xD, kept.scale_D)))))
    dx_xD = (dx_xD - centered(kept.summed_xD, mean_x1) * along_x1) * rstd_x1
    if dsummed_xD is not None:
        dx_xD += exact(dsummed_xD)
    dscale_D = dbias_D = None
    if kept.scale_D is not None:
        dscale_D = scale_gradient(*apart((kept.summed_xD, mean_x1, rstd_x1, dnormed_xD)))
    if kept.bias_D is not None:
        dbias_D = over_rows(exact(apart(dnormed_xD)))
    return dx_xD.astype(kept.summed_xD.dtype), dscale_D, dbias_D


def mean_of_product(
    summed_xD: jax.Array,
    scale_D: jax.Array | None,
    mean_x1: jax.Array | None,
    dnormed_xD: jax.Array,
) -> jax.Array:
    """mean(w n) / rstd."""
    return mean(centered(summed_xD, mean_x1) * weighted(dnormed_xD, scale_D))


def scale_gradient(
    summed_xD: jax.Array, mean_x1: jax.Array | None, rstd_x1: jax.Array, dnormed_xD: jax.Array
) -> jax.Array:
    return over_rows(exact(dnormed_xD) * centered(summed_xD, mean_x1) * rstd_x1)


def centered(summed_xD: jax.Array, mean_x1: jax.Array | None) -> jax.Array:
    return exact(summed_xD) if mean_x1 is None else exact(summed_xD) - mean_x1


def weighted(dnormed_xD: jax.Array, scale_D: jax.Array | None) -> jax.Array:
    return exact(dnormed_xD) if scale_D is None else exact(dnormed_xD) * scale_D


def exact(array: jax.Array) -> jax.Array:
    return array.astype(jnp.float32)


def mean(array_xD: jax.Array) -> jax.Array:
    return jnp.mean(array_xD, axis=-1, keepdims=True)


def over_rows(array_xD: jax.Array) -> jax.Array:
    return jnp.sum(array_xD, axis=tuple(range(array_xD.ndim - 1)))
