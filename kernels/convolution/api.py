"""`conv3x3`: its arguments' checks, the choice of a backend, and the one custom gradient."""

import functools
from types import ModuleType

import jax

from kernels.dispatch import DTYPES, Implementation, choose

BACKENDS = ("reference", "xla_cpu", "xla")


def conv3x3(
    x_BxHxWxC: jax.Array,
    kernel_3x3xCxO: jax.Array,
    *,
    stride: int = 1,
    implementation: Implementation = "auto",
) -> jax.Array:
    """The 3x3 convolution of images, (B, ceil(H / stride), ceil(W / stride), O), in x's dtype.

    Padding is 'SAME' with zeros: one pixel on each side at stride 1; at stride 2 an even side is
    padded by one pixel at its end, an odd one on both. The kernel is not flipped (a correlation,
    as in `flax.linen.Conv`, whose kernel this is). Differentiable in both.

    `implementation` is 'auto', a name of `BACKENDS` or a sequence of names, of which the first runs
    that takes the call. Raises ValueError for arguments that don't fit, naming the argument.
    """
    check(x_BxHxWxC, kernel_3x3xCxO, stride)
    call = x_BxHxWxC, kernel_3x3xCxO, stride
    backend = choose("kernels.convolution", BACKENDS, implementation, *call)
    return differentiable(backend, stride, x_BxHxWxC, kernel_3x3xCxO)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def differentiable(backend: ModuleType, stride: int, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`backend.forward`'s output; its gradient is `backend.backward`."""
    return backend.forward(x, kernel, stride)


def forward(
    backend: ModuleType, stride: int, x: jax.Array, kernel: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return backend.forward(x, kernel, stride), (x, kernel)


def backward(
    backend: ModuleType, stride: int, kept: tuple[jax.Array, jax.Array], dout: jax.Array
) -> tuple[jax.Array, jax.Array]:
    return backend.backward(*kept, stride, dout)


differentiable.defvjp(forward, backward)


def check(x: jax.Array, kernel: jax.Array, stride: int) -> None:
    if x.ndim != 4 or 0 in x.shape:
        raise ValueError(f"x must have 4 axes (B, H, W, C), none of size 0, got {x.shape}")
    if kernel.ndim != 4 or kernel.shape[:3] != (3, 3, x.shape[-1]) or kernel.shape[3] == 0:
        raise ValueError(f"kernel must be (3, 3, {x.shape[-1]}, O), got {kernel.shape}")
    if x.dtype.name not in DTYPES:
        raise ValueError(f"x must be of {', '.join(DTYPES)}, got {x.dtype}")
    if kernel.dtype != x.dtype:
        raise ValueError(f"kernel must be of x's dtype {x.dtype}, got {kernel.dtype}")
    if stride not in (1, 2):
        raise ValueError(f"stride must be 1 or 2, got {stride}")
