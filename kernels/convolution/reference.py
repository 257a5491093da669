"""The convolution in float32 by JAX, with JAX's own derivative: the truth."""

import jax
import jax.numpy as jnp

from kernels.convolution import xla


def refuses(x: jax.Array, kernel: jax.Array, stride: int) -> None:
    """Takes every call."""


def forward(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    with jax.default_matmul_precision("highest"):
        exact = xla.forward(x.astype(jnp.float32), kernel.astype(jnp.float32), stride)
    return exact.astype(x.dtype)


def backward(
    x: jax.Array, kernel: jax.Array, stride: int, dout: jax.Array
) -> tuple[jax.Array, jax.Array]:
    _, pull = jax.vjp(lambda x, kernel: forward(x, kernel, stride), x, kernel)
    return pull(dout)
