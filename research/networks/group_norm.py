"""Group norm with what follows it in a residual block, and a gradient of two passes over memory."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

EPSILON = 1e-6


class GroupNorm(nn.Module):
    """Normalizes each of `groups` runs of channels of an image to mean 0 and variance 1.

    Then y = x * scale + bias by channel and, with `modulation` (improved DDPM's scale and shift,
    2102.09672, section 3), y * (1 + modulation[0]) + modulation[1]. Statistics are float32.
    """

    groups: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B H W C"],
        *,
        modulation: tuple[Float[Array, "B C"], Float[Array, "B C"]] | None = None,
        silu: bool = False,
    ) -> Float[Array, "B H W C"]:
        """The normalized image in `dtype`; with `silu`, silu of it."""
        batch, channels = x.shape[0], x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (channels,))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        if modulation is not None:
            factor, shift = 1 + modulation[0].astype(jnp.float32), modulation[1]
            scale, bias = scale * factor, bias * factor + shift
        scale, bias = (jnp.broadcast_to(p, (batch, channels)) for p in (scale, bias))
        return group_norm(x.astype(self.dtype), scale, bias, self.groups, silu)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def group_norm(
    x_BxHxWxC: jax.Array, scale_BxC: jax.Array, bias_BxC: jax.Array, groups: int, silu: bool
) -> jax.Array:
    """(x - mean) / sqrt(variance + 1e-6) * scale + bias, and silu of it if asked (1803.08494).

    Both statistics are an example's over one group of channels; the variance is that of x - mean,
    not a difference of squares. `scale` and `bias` are float32, the result is of x's dtype. Only
    the arguments are kept for the gradient.
    """
    return forward(x_BxHxWxC, scale_BxC, bias_BxC, groups, silu)[0]


def forward(x: jax.Array, scale: jax.Array, bias: jax.Array, groups: int, silu: bool) -> Any:
    mean, inverse = statistics(x.astype(jnp.float32), groups)
    out = affine(x, scale * inverse, bias - mean * scale * inverse)
    out = out * jax.nn.sigmoid(out) if silu else out
    return out.astype(x.dtype), (x, scale, bias, mean, inverse)


def backward(groups: int, silu: bool, kept: Any, dout: jax.Array) -> tuple[jax.Array, ...]:
    """Sums by channel of the gradient and of it times x, then dx, linear in both."""
    x, scale, bias, mean, inverse = kept
    slope = scale * inverse
    x32, dout = x.astype(jnp.float32), dout.astype(jnp.float32)
    if silu:
        y = affine(x32, slope, bias - mean * slope)
        gate = jax.nn.sigmoid(y)
        dout = dout * gate * (1 + y * (1 - gate))
    dbias = jnp.sum(dout, axis=(1, 2))
    dscale = jnp.sum(dout * (x32 - spread(mean)), axis=(1, 2)) * inverse
    pixels = x.shape[1] * x.shape[2]
    along_mean = inverse * of_group(dbias * scale / pixels, groups)
    along_x = inverse**2 * of_group(dscale * scale / pixels, groups)
    dx = dout * spread(slope) - (x32 - spread(mean)) * spread(along_x) - spread(along_mean)
    return dx.astype(x.dtype), dscale, dbias


group_norm.defvjp(forward, backward)


def statistics(x_BxHxWxC: jax.Array, groups: int) -> tuple[jax.Array, jax.Array]:
    """Each channel's group's mean and 1 / sqrt(variance + epsilon), (B, C).

    Sums run over pixels first: an axis of 4 channels inside the last one is slow on a CPU.
    """
    mean = of_group(jnp.mean(x_BxHxWxC, axis=(1, 2)), groups)
    variance = jnp.mean(jnp.square(x_BxHxWxC - spread(mean)), axis=(1, 2))
    return mean, jax.lax.rsqrt(of_group(variance, groups) + EPSILON)


def of_group(values_BxC: jax.Array, groups: int) -> jax.Array:
    """Each channel's group's mean of `values`."""
    batch, channels = values_BxC.shape
    means = jnp.mean(values_BxC.reshape(batch, groups, -1), axis=-1)
    return jnp.repeat(means, channels // groups, axis=-1)


def affine(x_BxHxWxC: jax.Array, slope_BxC: jax.Array, start_BxC: jax.Array) -> jax.Array:
    return x_BxHxWxC * spread(slope_BxC) + spread(start_BxC)


def spread(values_BxC: jax.Array) -> jax.Array:
    return values_BxC[:, None, None, :]
