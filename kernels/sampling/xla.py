"""Sampling for XLA: passes over the row in place of sorts, and a two-level inverse CDF."""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from kernels.sampling.api import BLOCK, Arrays, Draw, Settings
from kernels.sampling.filters import keep_min_p, keep_top_k, keep_top_p, tempered


def refuses(arrays: Arrays, settings: Settings) -> None:
    """Takes every call."""


@functools.partial(jax.jit, static_argnums=1)
def draw(arrays: Arrays, settings: Settings) -> Draw:
    """A token a row and its log-probability."""
    logits_BxV = tempered(arrays.logits_BxV, settings.temperature)
    if settings.top_k is not None:
        logits_BxV = keep_top_k(logits_BxV, settings.top_k)
    if settings.top_p is not None:
        logits_BxV = keep_top_p(logits_BxV, settings.top_p)
    if settings.min_p is not None:
        logits_BxV = keep_min_p(logits_BxV, settings.min_p)
    return inverse_cdf(logits_BxV, arrays.uniforms_Bx2)


def inverse_cdf(logits_BxV: jax.Array, uniforms_Bx2: jax.Array) -> Draw:
    """Draws a block of tokens by the blocks' weights, then a token of the block by its own."""
    size = logits_BxV.shape[1]
    width = min(BLOCK, size)
    highest_Bx1 = jnp.max(logits_BxV, axis=1, keepdims=True)
    sums_BxN = block_sums(jnp.exp(logits_BxV - highest_Bx1), width)
    block_B, total_B = pick(sums_BxN, uniforms_Bx2[:, 0])

    index_BxW = block_B[:, None] * width + jnp.arange(width)
    # From the logits: were the weights read again, XLA would write them all to memory.
    logits_BxW = jnp.take_along_axis(logits_BxV, jnp.minimum(index_BxW, size - 1), axis=1)
    weight_BxW = jnp.where(index_BxW < size, jnp.exp(logits_BxW - highest_Bx1), 0)
    inside_B, _ = pick(weight_BxW, uniforms_Bx2[:, 1])
    drawn_B = jnp.take_along_axis(logits_BxW - highest_Bx1, inside_B[:, None], axis=1)[:, 0]
    good_B = total_B > 0  # a bad row's is NaN
    return Draw(
        jnp.where(good_B, block_B * width + inside_B, -1),
        jnp.where(good_B, drawn_B - jnp.log(total_B), jnp.nan),
    )


def block_sums(weight_BxV: jax.Array, width: int) -> jax.Array:
    """The sums of `width` neighbours, (B, ceil(V / width))."""
    window, padding = (1, width), ((0, 0), (0, -weight_BxV.shape[1] % width))
    return lax.reduce_window(weight_BxV, 0.0, lax.add, window, window, padding)


def pick(weight_BxN: jax.Array, uniform_B: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The last of positive weight that starts at or below the uniform's share; and all weight.

    The rule needs no sum to be monotone to its last bit: the first of positive weight starts at 0,
    so there always is one, and it is never one of weight 0.
    """
    ends_BxN = jnp.cumsum(weight_BxN, axis=1)
    total_B = ends_BxN[:, -1]
    starts_BxN = jnp.pad(ends_BxN[:, :-1], ((0, 0), (1, 0)))
    target_B = uniform_B * total_B
    may_be = (weight_BxN > 0) & (starts_BxN <= target_B[:, None])
    index_BxN = jnp.where(may_be, jnp.arange(weight_BxN.shape[1], dtype=jnp.int32), 0)
    return jnp.max(index_BxN, axis=1), total_B
