"""What tells a transformer where a token stands: sinusoids, rotations, relative buckets."""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from research.errors import InputError

POSITIONS = ("learned", "sinusoidal", "rotary", "relative", "none")


def sinusoids(length: int, width: int) -> Float[Array, "T D"]:
    """sin and cos of position / 10000^(2i / width), in turns (1706.03762, section 3.5)."""
    rate_I = np.exp(-math.log(10000) * np.arange(0, width, 2) / width)
    angle_TxI = np.arange(length)[:, None] * rate_I
    table_TxD = np.stack([np.sin(angle_TxI), np.cos(angle_TxI)], axis=-1).reshape(length, -1)
    return jnp.asarray(table_TxD[:, :width], jnp.float32)


def rotated(
    x: Float[Array, "B T H D"], positions: Int[Array, "#B T"], *, base: float = 10000.0
) -> Float[Array, "B T H D"]:
    """x with its pairs (i, i + D/2) turned by position * base^(-2i / D): RoPE (2104.09864).

    Products of a query and a key so turned depend on the distance of their positions alone.
    Raises InputError where D is odd.
    """
    half, odd = divmod(x.shape[-1], 2)
    if odd:
        raise InputError(f"rotary positions need an even head size, it is {x.shape[-1]}")
    rate_I = base ** (-np.arange(half) / half)
    angle_BxTx1xI = (positions[..., None] * rate_I.astype(np.float32))[:, :, None]
    cos, sin = jnp.cos(angle_BxTx1xI), jnp.sin(angle_BxTx1xI)
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    turned = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return turned.astype(x.dtype)


def relative_buckets(
    distance: Int[Array, "*S"], *, buckets: int, furthest: int, causal: bool
) -> Int[Array, "*S"]:
    """The bucket of key position - query position: exact when near, by its logarithm further on.

    All distances of `furthest` or more share the last bucket. Without `causal` the keys after the
    query have the upper half of the buckets. T5 (1910.10683), section 2.1. Raises InputError where
    no distance has a bucket of its own, or all have.
    """
    first = jnp.zeros_like(distance)
    if not causal:
        buckets //= 2
        first = jnp.where(distance > 0, buckets, 0)
    back = jnp.maximum(-distance, 0) if causal else jnp.abs(distance)
    exact = buckets // 2
    if not 1 <= exact < furthest:
        raise InputError(
            f"{exact} buckets of exact distances must be 1 at least and fewer than furthest, "
            f"{furthest}: set relative_buckets and relative_furthest"
        )
    # The logarithm of 0 is not chosen, but its gradient and its cast must be finite.
    ratio = jnp.log(jnp.maximum(back, 1) / exact) / math.log(furthest / exact)
    far = exact + (ratio * (buckets - exact)).astype(distance.dtype)
    return first + jnp.where(back < exact, back, jnp.minimum(far, buckets - 1))
