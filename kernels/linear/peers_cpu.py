"""What `linear` is timed against: functions of (x_NxD, kernel_DxE, *, dtype)."""

from typing import Any

import jax
import jax.numpy as jnp


def jax_dot(x_NxD: jax.Array, kernel_DxE: jax.Array, *, dtype: Any) -> jax.Array:
    """What a Flax layer of this dtype runs, with JAX's own derivative."""
    return jnp.dot(x_NxD.astype(dtype), kernel_DxE.astype(dtype)).astype(x_NxD.dtype)


PEERS = {"jax_dot": jax_dot}


def takes(case: str) -> bool:
    """Whether the peers take a case of shapes.py: all of them."""
    return True
