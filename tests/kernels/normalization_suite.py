"""What every backend of `rms_norm` and `layer_norm` must show; a test file inherits it for one."""

import contextlib
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels.blocks import tried
from kernels.machine import interpreted
from kernels.normalization import layer_norm, rms_norm

# Shapes that divide no block: rows of one block and of several, D below, at and between 128s.
SHAPES = {
    "plain": (64, 256),
    "odd": (37, 131),
    "batched": (2, 5, 3, 96),
    "one_row": (1, 384),
    "one_axis": (200,),
    "narrow": (300, 7),
    "wide": (3, 5000),
    "many_rows": (700, 40),
}
# Which of scale, bias and residual are given.
GIVEN = {"bare": "", "scale": "s", "bias": "b", "affine": "sb", "all": "sbr", "residual": "r"}


class NormalizationSuite:
    """Inherit with `backend`, and with the interpreter it needs."""

    backend = "reference"
    interpreter = None
    blocks: ClassVar = {}  # small ones by key, where a backend has any
    tolerance = 1e-5  # of the largest element
    bfloat16_tolerance = 1e-2
    narrow = "bfloat16"  # a dtype whose bits are right in the interpreter

    @pytest.fixture(autouse=True)
    def machine(self):
        inside = interpreted(self.interpreter) if self.interpreter else contextlib.nullcontext()
        with inside, tried(self.blocks):
            yield

    def run(self, norm, *given, **settings):
        return apply(norm, *given, **settings, implementation=self.backend)

    def value_and_gradients(self, run, norm, given, **settings):
        """Of outputs weighted by unequal numbers (of bfloat16's): no gradient cancels."""

        def scalar(given):
            outs = run(norm, *given, **settings)
            leaves = [jnp.asarray(out, jnp.float32) for out in jax.tree.leaves(outs)]
            weights = [uneven(x.shape, i) for i, x in enumerate(leaves)]
            return sum(jnp.sum(w * x) for w, x in zip(weights, leaves, strict=True)), outs

        (_, outs), gradients = jax.jit(jax.value_and_grad(scalar, has_aux=True))(given)
        return outs, gradients

    def agree(self, norm, given, tolerance=None, **settings):
        mine = self.value_and_gradients(self.run, norm, given, **settings)
        exact = jax.tree.map(lambda x: x.astype(jnp.float32), given)
        truth = self.value_and_gradients(reference, norm, exact, **settings)
        close(mine, truth, tolerance or self.tolerance)
        return mine

    @pytest.mark.parametrize("norm", ["rms", "layer"])
    @pytest.mark.parametrize("name", SHAPES)
    def test_value_and_gradient_of_shapes(self, norm, name):
        self.agree(norm, arrays(norm, SHAPES[name], "sbr"))

    @pytest.mark.parametrize("norm", ["rms", "layer"])
    @pytest.mark.parametrize("name", GIVEN)
    def test_value_and_gradient_of_arguments(self, norm, name):
        self.agree(norm, arrays(norm, (21, 130), GIVEN[name]))

    def test_offset_and_epsilon(self):
        """At inputs of epsilon's size both matter."""
        x, scale, bias, residual = arrays("rms", (21, 130), "sr")
        given = (0.1 * x, scale, bias, 0.1 * residual)
        self.agree("rms", given, offset=1.0, epsilon=0.03)
        self.agree("layer", given, epsilon=0.03)

    @pytest.mark.parametrize("norm", ["rms", "layer"])
    def test_rows_of_one_number(self, norm):
        """Layer norm's is 0 over 0: epsilon's root divides every rounding."""
        self.agree(norm, arrays(norm, (9, 1), "sbr"), epsilon=0.1)

    @pytest.mark.parametrize("norm", ["rms", "layer"])
    def test_bfloat16(self, norm):
        given = arrays(norm, (37, 200), "sbr", "bfloat16")
        outs, gradients = self.agree(norm, given, tolerance=self.bfloat16_tolerance)
        assert {x.dtype for x in jax.tree.leaves((outs, gradients))} == {jnp.dtype(jnp.bfloat16)}

    def test_a_float32_stream_of_bfloat16_branches(self):
        """The sum keeps residual's dtype and digits; normed is of x's dtype."""
        x, scale, bias, residual = arrays("rms", (37, 200), "sr")
        x = x.astype(jnp.bfloat16)
        (normed, summed), _ = self.agree(
            "rms", (x, scale, bias, residual), tolerance=self.bfloat16_tolerance
        )
        assert (normed.dtype, summed.dtype) == (jnp.bfloat16, jnp.float32)
        np.testing.assert_array_equal(summed, x.astype(jnp.float32) + residual)

    @pytest.mark.parametrize("norm", ["rms", "layer"])
    def test_residual_is_a_sum_before_the_norm(self, norm):
        """Both results have the bits of the sum and of its norm, rounded sum included."""
        x, scale, bias, residual = arrays(norm, (37, 200), "sbr", self.narrow)
        normed, summed = self.run(norm, x, scale, bias, residual)
        np.testing.assert_array_equal(summed, x + residual)
        np.testing.assert_array_equal(normed, self.run(norm, summed, scale, bias, None))

    @pytest.mark.parametrize("norm", ["rms", "layer"])
    def test_the_stream_alone_is_the_identity(self, norm):
        """If only the sum is used, its gradient passes through untouched."""
        given = arrays(norm, (5, 130), "sbr")

        def scalar(given):
            return jnp.sum(jnp.sin(self.run(norm, *given)[1]))

        dx, dscale, dbias, dresidual = jax.grad(scalar)(given)
        np.testing.assert_array_equal(dx, dresidual)
        np.testing.assert_allclose(dx, jnp.cos(given[0] + given[3]), rtol=1e-5)
        assert not any(np.any(x) for x in jax.tree.leaves((dscale, dbias)))

    def test_rms_norm_forgets_scale(self):
        x, scale, *_ = arrays("rms", (9, 130), "s")
        close(self.run("rms", 64 * x, scale), self.run("rms", x, scale), self.tolerance)

    def test_layer_norm_forgets_shift_and_scale(self):
        x, scale, bias, _ = arrays("layer", (9, 130), "sb")
        moved = self.run("layer", 64 * x + 3, scale, bias)
        close(moved, self.run("layer", x, scale, bias), self.tolerance)

    def test_rows_have_mean_0_and_square_1(self):
        x, *_ = arrays("layer", (9, 500), "")
        out = np.asarray(self.run("layer", 5 * x + 2))
        np.testing.assert_allclose(out.mean(-1), 0, atol=1e-6)
        np.testing.assert_allclose(np.square(out).mean(-1), 1, rtol=1e-5)
        rms = np.asarray(self.run("rms", 5 * x + 2))
        np.testing.assert_allclose(np.square(rms).mean(-1), 1, rtol=1e-5)

    def test_gradient_is_orthogonal_to_what_is_forgotten(self):
        """Without scale and with epsilon 0: by x.dx for both, by sum(dx) for layer norm."""
        x, *_ = arrays("rms", (9, 130), "")
        weights = uneven(x.shape, 0)
        for norm in ("rms", "layer"):
            dx = jax.grad(lambda x, n=norm: jnp.sum(weights * self.run(n, x, epsilon=1e-12)))(x)
            assert np.abs(np.sum(x * dx, -1)).max() < 1e-4
        assert np.abs(np.sum(dx, -1)).max() < 1e-4

    @pytest.mark.parametrize("norm", ["rms", "layer"])
    def test_a_large_mean_costs_no_digits(self, norm):
        """The variance is of differences: 1000 +- 1 is not lost in 1000^2."""
        x, scale, bias, _ = arrays(norm, (9, 130), "sb")
        self.agree(norm, (x + 1000, scale, bias, None), tolerance=2e-4)

    @pytest.mark.parametrize("norm", ["rms", "layer"])
    def test_a_row_does_not_depend_on_others(self, norm):
        """Same bits, in value and gradient by x, whatever the other rows hold (NaN too)."""
        x, scale, bias, residual = arrays(norm, (37, 131), "sbr")
        other = (jnp.arange(37) != 17)[:, None]
        rows = []
        first = self.value_and_gradients(self.run, norm, (x, scale, bias, residual))
        strange = (jnp.where(other, jnp.nan, x), scale, bias, residual)
        second = self.value_and_gradients(self.run, norm, strange)
        for (normed, summed), (dx, *_) in (first, second):
            rows.append([array[17] for array in (normed, summed, dx)])
        np.testing.assert_array_equal(*rows)

    @pytest.mark.parametrize("norm", ["rms", "layer"])
    def test_same_bits_twice(self, norm):
        given = arrays(norm, (300, 131), "sbr")
        first, second = (self.value_and_gradients(self.run, norm, given) for _ in range(2))
        jax.tree.map(np.testing.assert_array_equal, first, second)

    def test_a_row_of_zeros_is_zeros(self):
        x = jnp.zeros((3, 130))
        for norm in ("rms", "layer"):
            out, gradients = self.value_and_gradients(self.run, norm, (x, None, None, None))
            assert not np.any(out) and np.isfinite(gradients[0]).all()


def arrays(norm, shape, given, dtype="float32"):
    """x, scale, bias and residual, those that are not in `given` ('sbr') None; RMS has no bias."""
    keys = jax.random.split(jax.random.key(sum(shape)), 4)
    x, residual = (jax.random.normal(key, shape) for key in keys[:2])
    scale, bias = (1 + 0.5 * jax.random.normal(key, shape[-1:]) for key in keys[2:])
    chosen = (
        x,
        scale if "s" in given else None,
        bias if "b" in given and norm == "layer" else None,
        residual if "r" in given else None,
    )
    return jax.tree.map(lambda array: array.astype(dtype), chosen)


def uneven(shape, start):
    weights = jnp.cos(start + jnp.arange(np.prod(shape, dtype=int))).reshape(shape)
    return weights.astype(jnp.bfloat16).astype(jnp.float32)


def apply(norm, x, scale=None, bias=None, residual=None, **settings):
    if norm == "rms":
        return rms_norm(x, scale, residual=residual, **settings)
    return layer_norm(x, scale, bias, residual=residual, **settings)


def reference(norm, *given, **settings):
    return apply(norm, *given, **settings, implementation="reference")


def close(ours, theirs, tolerance):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for (path, a), b in zip(jax.tree.leaves_with_path(ours), jax.tree.leaves(theirs), strict=True):
        name = jax.tree_util.keystr(path)
        assert a.shape == b.shape, name
        a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
        worst = np.abs(a - b).max() / max(np.abs(b).max(), 1e-6)
        assert np.isfinite(a).all() and worst <= tolerance, f"{name}: {worst:.2e} > {tolerance:.0e}"
