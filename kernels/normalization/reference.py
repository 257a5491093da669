"""RMS norm and layer norm, plain and in float32: the truth that other backends are held to."""

import jax
import jax.numpy as jnp

from kernels.normalization.api import Arrays, Kept, Settings


def refuses(arrays: Arrays, settings: Settings) -> None:
    """Takes every call."""


def forward(arrays: Arrays, settings: Settings) -> tuple[jax.Array, jax.Array, None]:
    """Normed, of x's dtype; the sum that was normalized, of residual's; nothing for backward."""
    summed_xD = total(arrays)
    normed_xD = normalized(
        summed_xD.astype(jnp.float32), arrays.scale_D, arrays.bias_D, settings=settings
    )
    return normed_xD.astype(arrays.x_xD.dtype), summed_xD, None


def backward(
    kept: Kept, settings: Settings, dnormed_xD: jax.Array, dsummed_xD: jax.Array | None
) -> tuple[jax.Array, jax.Array | None, jax.Array | None]:
    """JAX's own derivative of `normalized`, by the sum, scale and bias."""

    def moved(summed: jax.Array, scale: jax.Array | None, bias: jax.Array | None) -> jax.Array:
        return normalized(summed, scale, bias, settings=settings)

    _, pull = jax.vjp(moved, kept.summed_xD.astype(jnp.float32), kept.scale_D, kept.bias_D)
    dx_xD, dscale_D, dbias_D = pull(dnormed_xD.astype(jnp.float32))
    if dsummed_xD is not None:
        dx_xD += dsummed_xD.astype(jnp.float32)
    return dx_xD.astype(kept.summed_xD.dtype), dscale_D, dbias_D


def total(arrays: Arrays) -> jax.Array:
    """x + residual, rounded once to residual's dtype; x where there is no residual."""
    if arrays.residual_xD is None:
        return arrays.x_xD
    exact = arrays.x_xD.astype(jnp.float32) + arrays.residual_xD.astype(jnp.float32)
    return exact.astype(arrays.residual_xD.dtype)


def normalized(
    summed_xD: jax.Array,
    scale_D: jax.Array | None,
    bias_D: jax.Array | None,
    *,
    settings: Settings,
) -> jax.Array:
    if settings.centered:
        summed_xD -= jnp.mean(summed_xD, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(summed_xD), axis=-1, keepdims=True)
    normed_xD = summed_xD * jax.lax.rsqrt(variance + settings.epsilon)
    if scale_D is not None:
        normed_xD *= scale_D
    return normed_xD if bias_D is None else normed_xD + bias_D
