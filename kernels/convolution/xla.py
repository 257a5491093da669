"""XLA's own convolution and its own derivatives: what TPUs and GPUs run."""

import jax


def refuses(x: jax.Array, kernel: jax.Array, stride: int) -> None:
    """Takes every call."""


def forward(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), "SAME", dimension_numbers=layout
    )


def backward(
    x: jax.Array, kernel: jax.Array, stride: int, dout: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """By both arguments; what nobody asks for is dropped under jit."""
    _, pull = jax.vjp(lambda x, kernel: forward(x, kernel, stride), x, kernel)
    return pull(dout)
