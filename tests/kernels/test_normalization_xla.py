"""The CPU's backend, its derivative by hand."""

import jax
import jax.numpy as jnp

from kernels.normalization import layer_norm
from tests.kernels.normalization_suite import NormalizationSuite


class TestXla(NormalizationSuite):
    backend = "xla"


def test_backward_keeps_the_sum_and_two_numbers_a_row():
    """The residuals of the derivative: nothing of x's size but the sum."""
    x, scale = jnp.ones((64, 128)), jnp.ones(128)
    _, pull = jax.vjp(lambda *given: layer_norm(*given, implementation="xla"), x, scale, scale)
    sizes = sorted(array.size for array in jax.tree.leaves(pull) if isinstance(array, jax.Array))
    assert sizes == [64, 64, 128, 128, 64 * 128]
