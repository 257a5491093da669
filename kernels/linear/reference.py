"""The products in float32 at the highest precision: the truth."""

import jax
import jax.numpy as jnp

from kernels.linear import xla

over_rows = xla.over_rows
refuses = xla.refuses


def product(a_NxD: jax.Array, b_DxE: jax.Array) -> jax.Array:
    a, b = (x.astype(jnp.float32) for x in (a_NxD, b_DxE))
    return jnp.dot(a, b, precision="highest")


def by_turned(a_NxE: jax.Array, b_DxE: jax.Array) -> jax.Array:
    return product(a_NxE, b_DxE.T)


def of_turned(a_NxD: jax.Array, b_NxE: jax.Array) -> jax.Array:
    return product(a_NxD.T, b_NxE)
