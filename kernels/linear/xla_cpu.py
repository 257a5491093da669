"""The products as XLA's CPU compiler is quick at them: the CPU's default.

XLA folds a turned factor into the product. On a CPU a bfloat16 product then has neither the threads
nor the instructions of a plain one: the weight gradient of two cores takes as long as one's, or
longer. Here a factor is turned first, and the product stands in a computation of its own, into
which nothing is folded. In float32 nothing is lost by folding, and an array is saved.

Where a CPU has no instructions for bfloat16, XLA makes float32 numbers of such factors anew at each
product. Here they are float32 from the start, rounded as bfloat16 is: the products are the same.
"""

import jax
import jax.numpy as jnp

from kernels.blocks import largest_divisor
from kernels.linear import xla
from kernels.machine import multiplied, threads

PART = 2**16  # weights at least, 10 us or more of a core: to wake another takes some

refuses = xla.refuses


def product(a_NxD: jax.Array, b_DxE: jax.Array) -> jax.Array:
    """a @ b, float32."""
    a_NxD, b_DxE = (x.astype(multiplied(x.dtype)) for x in (a_NxD, b_DxE))
    if len(a_NxD) > 1:
        return xla.product(a_NxD, b_DxE)
    if a_NxD.dtype == jnp.float32:
        return by_parts(a_NxD, b_DxE)
    # XLA takes both factors of a lone row to float32, twice the bytes; of four rows it does not.
    return xla.product(jnp.broadcast_to(a_NxD, (4, a_NxD.shape[1])), b_DxE)[:1]


def by_parts(a_1xD: jax.Array, b_DxE: jax.Array) -> jax.Array:
    """A lone row's product, of whose matrix each thread reads rows that lie together.

    They are a batch: one product of a row XLA gives to one thread.
    """
    inputs, outputs = b_DxE.shape
    parts = largest_divisor(inputs, min(threads(), b_DxE.size // PART))
    a_Px1xS, b_PxSxE = a_1xD.reshape(parts, 1, -1), b_DxE.reshape(parts, -1, outputs)
    return jnp.sum(jnp.matmul(a_Px1xS, b_PxSxE), axis=0)


def by_turned(a_NxE: jax.Array, b_DxE: jax.Array) -> jax.Array:
    """a @ b^T, float32."""
    return product_apart(a_NxE, b_DxE.T)


def of_turned(a_NxD: jax.Array, b_NxE: jax.Array) -> jax.Array:
    """a^T @ b, float32."""
    return product_apart(a_NxD.T, b_NxE)


def product_apart(a_NxD: jax.Array, b_DxE: jax.Array) -> jax.Array:
    """The product as a branch that is always taken, which XLA can't know; float32's as it is."""
    if multiplied(a_NxD.dtype) == jnp.float32:
        return product(a_NxD, b_DxE)
    always = jax.lax.optimization_barrier(jnp.array(True))
    return jax.lax.cond(always, product, nothing, a_NxD, b_DxE)


def nothing(a_NxD: jax.Array, b_DxE: jax.Array) -> jax.Array:
    return jnp.zeros((a_NxD.shape[0], b_DxE.shape[1]), jnp.float32)


def over_rows(a_NxE: jax.Array) -> jax.Array:
    """The sum of the rows, float32: a product, where XLA would walk down the columns."""
    ones_1xN = jnp.ones((1, len(a_NxE)), jnp.float32)
    return jnp.dot(ones_1xN, a_NxE.astype(jnp.float32), precision="highest")[0]
