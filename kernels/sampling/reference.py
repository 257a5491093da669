"""Sampling by sorting, plain and in float32: the truth that other backends are held to."""

import functools

import jax
import jax.numpy as jnp

from kernels.sampling.api import BLOCK, Arrays, Draw, Settings
from kernels.sampling.filters import widest_gap


def refuses(arrays: Arrays, settings: Settings) -> None:
    """Takes every call."""


@functools.partial(jax.jit, static_argnums=1)
def draw(arrays: Arrays, settings: Settings) -> Draw:
    """Filters the tokens in order of likelihood, and inverts the distribution that is left."""
    logits_BxV = arrays.logits_BxV.astype(jnp.float32)
    gap_BxV = jnp.max(logits_BxV, axis=1, keepdims=True) - logits_BxV
    gap_BxV *= jnp.float32(1 / settings.temperature)
    weight_BxV = jnp.where(kept(gap_BxV, settings), jnp.exp(-gap_BxV), 0)
    total_B = jnp.sum(weight_BxV, axis=1)

    size = weight_BxV.shape[1]
    padded = jnp.pad(weight_BxV, ((0, 0), (0, -size % BLOCK)))
    weight_BxNxW = padded.reshape(len(padded), -1, BLOCK)
    block_B = invert(jnp.sum(weight_BxNxW, axis=2), arrays.uniforms_Bx2[:, 0])
    inside_B = invert(weight_BxNxW[jnp.arange(len(padded)), block_B], arrays.uniforms_Bx2[:, 1])
    tokens_B = block_B * BLOCK + inside_B
    drawn_B = weight_BxV[jnp.arange(len(padded)), tokens_B]
    good_B = total_B > 0
    return Draw(
        jnp.where(good_B, tokens_B, -1).astype(jnp.int32),
        jnp.where(good_B, jnp.log(drawn_B) - jnp.log(total_B), jnp.nan),
    )


def kept(gap_BxV: jax.Array, settings: Settings) -> jax.Array:
    """The tokens that all filters leave, bool (B, V)."""
    order_BxV = jnp.argsort(gap_BxV, axis=1, stable=True)
    gap_BxV = jnp.take_along_axis(gap_BxV, order_BxV, axis=1)
    keep_BxV = jnp.ones(gap_BxV.shape, bool)
    if settings.top_k is not None:
        keep_BxV &= jnp.arange(gap_BxV.shape[1]) < settings.top_k
    if settings.top_p is not None:
        weight_BxV = jnp.where(keep_BxV, jnp.exp(-gap_BxV), 0)
        before_BxV = jnp.cumsum(weight_BxV, axis=1) - weight_BxV
        goal_Bx1 = jnp.float32(settings.top_p) * jnp.sum(weight_BxV, axis=1, keepdims=True)
        keep_BxV &= before_BxV < goal_Bx1
    if settings.min_p is not None:
        # In logs, for exp rounds otherwise on other machines.
        keep_BxV &= gap_BxV <= widest_gap(settings.min_p)
    rank_BxV = jnp.argsort(order_BxV, axis=1)
    return jnp.take_along_axis(keep_BxV, rank_BxV, axis=1)


def invert(weight_BxN: jax.Array, uniform_B: jax.Array) -> jax.Array:
    """The first index whose cumulative weight is above the uniform's share of it all."""
    ends_BxN = jnp.cumsum(weight_BxN, axis=1)
    above = ends_BxN > uniform_B[:, None] * ends_BxN[:, -1:]
    return jnp.argmax(above & (weight_BxN > 0), axis=1)
