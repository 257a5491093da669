"""The products as XLA makes them: what TPUs and GPUs run."""

from typing import Any

import jax
import jax.numpy as jnp


def refuses(*call: Any) -> None:
    """Takes every call."""


def product(a_NxD: jax.Array, b_DxE: jax.Array) -> jax.Array:
    """a @ b, float32."""
    return jnp.dot(a_NxD, b_DxE, preferred_element_type=jnp.float32)


def by_turned(a_NxE: jax.Array, b_DxE: jax.Array) -> jax.Array:
    """a @ b^T, float32."""
    return product(a_NxE, b_DxE.T)


def of_turned(a_NxD: jax.Array, b_NxE: jax.Array) -> jax.Array:
    """a^T @ b, float32."""
    return product(a_NxD.T, b_NxE)


def over_rows(a_NxE: jax.Array) -> jax.Array:
    """The sum of the rows, float32."""
    return jnp.sum(a_NxE, axis=0, dtype=jnp.float32)
