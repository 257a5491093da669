"""What the norms are timed against: Flax's modules, and the formula with JAX's own derivative."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen  # noqa: TID251 (a peer, no network)

from kernels.normalization.api import Arrays, Settings
from kernels.normalization.reference import normalized, total


def flax(x: jax.Array, scale: jax.Array, *others: jax.Array) -> Any:
    """RMSNorm or LayerNorm of x + residual, of x's dtype; the arguments are those of the cases."""
    bias, residual = named(x, others)
    norm: linen.Module
    if bias is None:
        norm, parameters = linen.RMSNorm(dtype=x.dtype), {"scale": scale}
    else:
        norm, parameters = linen.LayerNorm(dtype=x.dtype), {"scale": scale, "bias": bias}
    summed = x if residual is None else x + residual
    normed = norm.apply({"params": parameters}, summed)
    return normed if residual is None else (normed, summed)


def formula(x: jax.Array, scale: jax.Array, *others: jax.Array) -> Any:
    """The reference's own lines, differentiated by JAX."""
    bias, residual = named(x, others)
    summed = total(Arrays(x, residual, scale, bias))
    settings = Settings(centered=bias is not None, epsilon=1e-6)
    normed = normalized(summed.astype(jnp.float32), scale, bias, settings=settings).astype(x.dtype)
    return normed if residual is None else (normed, summed)


def named(x: jax.Array, others: tuple[jax.Array, ...]) -> tuple[jax.Array | None, jax.Array | None]:
    """bias, which only layer norm's cases have, and residual."""
    bias = next((array for array in others if array.ndim == 1), None)
    return bias, next((array for array in others if array.ndim == x.ndim), None)


PEERS = {"flax": flax, "formula": formula}


def takes(case: str) -> bool:
    """Whether the peers take a case of shapes.py: all of them."""
    return True
