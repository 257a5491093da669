"""The products as XLA's CPU compiler is quick at them: the CPU's default.

XLA folds a turned factor into the product. On a CPU a bfloat16 product then has neither the threads
nor the instructions of a plain one: the weight gradient of two cores takes as long as one's, or
longer. Here a factor is turned first, and the product stands in a computation of its own, into
which nothing is folded. In float32 nothing is lost by folding, and an array is saved.
"""

import jax
import jax.numpy as jnp

from kernels.linear import xla

refuses = xla.refuses


def product(a_NxD: jax.Array, b_DxE: jax.Array) -> jax.Array:
    """a @ b, float32."""
    if len(a_NxD) > 1 or a_NxD.dtype == jnp.float32:
        return xla.product(a_NxD, b_DxE)
    # XLA takes both factors of a lone row to float32, twice the bytes; of four rows it does not.
    return xla.product(jnp.broadcast_to(a_NxD, (4, a_NxD.shape[1])), b_DxE)[:1]


def by_turned(a_NxE: jax.Array, b_DxE: jax.Array) -> jax.Array:
    """a @ b^T, float32."""
    return product_apart(a_NxE, b_DxE.T)


def of_turned(a_NxD: jax.Array, b_NxE: jax.Array) -> jax.Array:
    """a^T @ b, float32."""
    return product_apart(a_NxD.T, b_NxE)


def product_apart(a_NxD: jax.Array, b_DxE: jax.Array) -> jax.Array:
    """The product as a branch that is always taken, which XLA can't know; float32's as it is."""
    if a_NxD.dtype == jnp.float32:
        return product(a_NxD, b_DxE)
    always = jax.lax.optimization_barrier(jnp.array(True))
    return jax.lax.cond(always, product, nothing, a_NxD, b_DxE)


def nothing(a_NxD: jax.Array, b_DxE: jax.Array) -> jax.Array:
    return jnp.zeros((a_NxD.shape[0], b_DxE.shape[1]), jnp.float32)


def over_rows(a_NxE: jax.Array) -> jax.Array:
    """The sum of the rows, float32: a product, where XLA would walk down the columns."""
    ones_1xN = jnp.ones((1, len(a_NxE)), jnp.float32)
    return jnp.dot(ones_1xN, a_NxE.astype(jnp.float32), precision="highest")[0]
