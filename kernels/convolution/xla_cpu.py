"""XLA's convolution with the weight gradient written as matrix products: the CPU's.

XLA makes the weight gradient a convolution whose window is the whole image. Here a scan goes over
blocks of images that stay in cache. In a block the three columns of the window lie side by side in
the channels, made once, so each row of the window is one product (O, pixels) @ (pixels, 3 C) with
a run of that array's rows.
"""

import jax
import jax.numpy as jnp

from kernels.blocks import chosen, largest_divisor
from kernels.convolution import xla

DEFAULT = {"pixels": 1600}

forward = xla.forward
refuses = xla.refuses


def backward(
    x: jax.Array, kernel: jax.Array, stride: int, dout: jax.Array
) -> tuple[jax.Array, jax.Array]:
    _, pull = jax.vjp(lambda x: forward(x, kernel, stride), x)
    return *pull(dout), weight_gradient(x, stride, dout)


def weight_gradient(x_BxHxWxC: jax.Array, stride: int, dout_BxhxwxO: jax.Array) -> jax.Array:
    """The gradient by the kernel, (3, 3, C, O) in x's dtype; sums are float32."""
    batch, channels = x_BxHxWxC.shape[0], x_BxHxWxC.shape[-1]
    height, width, outputs = dout_BxhxwxO.shape[1:]
    sides = (x_BxHxWxC.shape[1:3], (height, width))
    before_after = [same_padding(side, out, stride) for side, out in zip(*sides, strict=True)]
    padding = ((0, 0), *before_after, (0, 0))
    pixels = chosen("kernels.convolution", "xla_cpu", "weight", DEFAULT)["pixels"]
    images = largest_divisor(batch, pixels // (height * width))

    def add(total_3xOx3C: jax.Array, block: tuple[jax.Array, ...]) -> tuple[jax.Array, None]:
        x, dout = block
        x = jnp.pad(x, padding)
        columns = [x[:, :, j:][:, :, ::stride][:, :, :width] for j in range(3)]
        columns_bxHxwx3C = jnp.concatenate(columns, axis=-1)
        # XLA's product is fast when the summed axis is the last of its left side: turned before.
        dout_Oxn = jax.lax.optimization_barrier(dout.reshape(-1, outputs).T)
        rows = [columns_bxHxwx3C[:, i:][:, ::stride][:, :height] for i in range(3)]
        products = [
            jnp.dot(dout_Oxn, row.reshape(-1, 3 * channels), preferred_element_type=jnp.float32)
            for row in rows
        ]
        return total_3xOx3C + jnp.stack(products), None

    blocks = [array.reshape(-1, images, *array.shape[1:]) for array in (x_BxHxWxC, dout_BxhxwxO)]
    zero = jnp.zeros((3, outputs, 3 * channels), jnp.float32)
    total, _ = jax.lax.scan(add, zero, tuple(blocks))
    gradient = total.reshape(3, outputs, 3, channels).transpose(0, 2, 3, 1)
    return gradient.astype(x_BxHxWxC.dtype)


def same_padding(side: int, out: int, stride: int) -> tuple[int, int]:
    """Pixels of zeros before and after a side, as 'SAME' places them for a window of 3."""
    total = max((out - 1) * stride + 3 - side, 0)
    return total // 2, total - total // 2
