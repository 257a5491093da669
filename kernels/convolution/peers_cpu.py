"""What `conv3x3` is timed against: functions of (x_BxHxWxC, kernel_3x3xCxO, *, stride)."""

import functools

from kernels.convolution import conv3x3

# JAX's own convolution and derivative: what a Flax layer runs.
PEERS = {"jax_lax": functools.partial(conv3x3, implementation="xla")}


def takes(case: str) -> bool:
    """Whether the peers take a case of shapes.py: all of them."""
    return True
