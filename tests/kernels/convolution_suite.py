"""What every backend of `conv3x3` must show; a test file inherits it for one backend."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels.convolution import conv3x3

# (batch, height, width, channels, outputs), stride.
EXAMPLES = {
    "square": ((4, 8, 8, 6, 5), 1),
    "odd": ((3, 7, 5, 4, 6), 1),
    "batch_1": ((1, 9, 6, 3, 4), 1),
    "stem": ((2, 8, 8, 1, 8), 1),
    "head": ((2, 8, 8, 8, 1), 1),
    "one_pixel": ((2, 1, 1, 3, 2), 1),
    "several_blocks": ((6, 30, 28, 2, 3), 1),
    "halved": ((4, 8, 6, 4, 4), 2),
    "halved_odd": ((2, 7, 9, 3, 2), 2),
    "halved_one_pixel": ((2, 1, 2, 3, 2), 2),
}


def arrays(batch, height, width, channels, outputs, dtype="float32"):
    """An image, a kernel and a gradient's seed."""
    rngs = jax.random.split(jax.random.key(height + channels), 2)
    shapes = (batch, height, width, channels), (3, 3, channels, outputs)
    return [jax.random.normal(r, s).astype(dtype) for r, s in zip(rngs, shapes, strict=True)]


def lax_conv(x, kernel, *, stride=1):
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision="highest",
    )


class ConvolutionSuite:
    """Inherit with `backend`."""

    backend = "reference"
    tolerance = 2e-6  # of the largest element
    bfloat16_tolerance = 1e-2

    def run(self, x, kernel, *, stride=1):
        return conv3x3(x, kernel, stride=stride, implementation=self.backend)

    def results(self, run, x, kernel, stride):
        out, pull = jax.vjp(lambda x, kernel: run(x, kernel, stride=stride), x, kernel)
        return out, *pull(jnp.cos(jnp.arange(out.size)).reshape(out.shape).astype(out.dtype))

    def agree(self, x, kernel, stride, tolerance):
        ours = self.results(self.run, x, kernel, stride)
        exact = self.results(lax_conv, *(a.astype(jnp.float32) for a in (x, kernel)), stride)
        for name, a, b in zip(("out", "dx", "dkernel"), ours, exact, strict=True):
            assert (a.shape, a.dtype) == (b.shape, x.dtype), name
            a, b = np.asarray(a, np.float32), np.asarray(b)
            assert np.abs(a - b).max() <= tolerance * np.abs(b).max(), name

    @pytest.mark.parametrize("name", EXAMPLES)
    def test_value_and_gradients(self, name):
        sizes, stride = EXAMPLES[name]
        self.agree(*arrays(*sizes), stride, self.tolerance)

    @pytest.mark.parametrize("stride", [1, 2])
    def test_bfloat16(self, stride):
        self.agree(*arrays(4, 28, 28, 8, 8, "bfloat16"), stride, self.bfloat16_tolerance)

    def test_a_pixel_is_seen_by_its_neighbours_alone(self):
        x, kernel = arrays(2, 7, 7, 2, 3)
        moved = self.run(x.at[0, 2, 6].add(1.0), kernel) != self.run(x, kernel)
        places = np.argwhere(np.asarray(moved).any(axis=-1))
        assert {tuple(p) for p in places} == {(0, i, j) for i in (1, 2, 3) for j in (5, 6)}

    def test_same_bits_twice(self):
        x, kernel = arrays(6, 28, 28, 4, 4)
        first, second = (jax.jit(self.results, static_argnums=(0, 3)) for _ in range(2))
        for a, b in zip(first(self.run, x, kernel, 1), second(self.run, x, kernel, 1), strict=True):
            np.testing.assert_array_equal(a, b)
