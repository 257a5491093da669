"""conv3x3's backends inherit the suite; its arguments are checked; 'auto' is the CPU's own."""

import re

import jax
import jax.numpy as jnp
import pytest

from kernels.convolution import conv3x3
from tests.kernels.convolution_suite import ConvolutionSuite, arrays


class TestReference(ConvolutionSuite):
    """Held to lax.conv, like the others."""


class TestXLA(ConvolutionSuite):
    backend = "xla"


class TestXLACPU(ConvolutionSuite):
    backend = "xla_cpu"


def test_on_a_cpu_auto_scans_over_blocks_for_the_weight_gradient():
    x, kernel = arrays(6, 28, 28, 2, 3)

    def primitives(implementation):
        def loss(kernel):
            return jnp.sum(conv3x3(x, kernel, implementation=implementation))

        return re.findall(r"\bscan\[", str(jax.make_jaxpr(jax.grad(loss))(kernel)))

    assert primitives("auto") == primitives("xla_cpu") == ["scan["]
    assert primitives("xla") == []


X, KERNEL = jnp.zeros((2, 8, 8, 4)), jnp.zeros((3, 3, 4, 6))
BAD = {
    "x must have 4 axes (B, H, W, C)": dict(x=X[0]),
    "x must be of float32, bfloat16, float16, got int32": dict(x=X.astype(int)),
    "none of size 0": dict(x=X[:0]),
    "kernel must be (3, 3, 4, O), got (3, 3, 5, 6)": dict(kernel=jnp.zeros((3, 3, 5, 6))),
    "kernel must be (3, 3, 4, O), got (1, 1, 4, 6)": dict(kernel=jnp.zeros((1, 1, 4, 6))),
    "kernel must be of x's dtype float32": dict(kernel=KERNEL.astype(jnp.bfloat16)),
    "stride must be 1 or 2, got 3": dict(stride=3),
    "implementation 'cudnn' is unknown": dict(implementation="cudnn"),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments_are_named(message):
    given = dict(x=X, kernel=KERNEL) | BAD[message]
    with pytest.raises(ValueError, match=re.escape(message)):
        conv3x3(given.pop("x"), given.pop("kernel"), **given)
