"""linear's backends are held to float64; its arguments are checked; 'auto' is the CPU's own."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels import machine
from kernels.linear import linear, xla_cpu

SIZES = {"plain": (12, 6, 5), "column": (7, 9, 1), "row": (1, 4, 8), "batches": (3, 5, 16, 24)}


def arrays(*sizes):
    """x (..., D), kernel (D, E), bias (E,) and the output's gradient."""
    *rows, inputs, outputs = sizes
    shapes = (*rows, inputs), (inputs, outputs), (outputs,), (*rows, outputs)
    rngs = jax.random.split(jax.random.key(inputs), 4)
    return [jax.random.normal(r, s) for r, s in zip(rngs, shapes, strict=True)]


def exact(x, kernel, bias, dout):
    x, kernel, bias, dout = (np.asarray(a, np.float64) for a in (x, kernel, bias, dout))
    rows = tuple(range(x.ndim - 1))
    dkernel = np.tensordot(x, dout, (rows, rows))
    return x @ kernel + bias, dout @ kernel.T, dkernel, dout.sum(axis=rows)


class LinearSuite:
    """Inherit with `backend`."""

    backend = "reference"

    def results(self, x, kernel, bias, dout, **settings):
        def run(*given):
            return linear(*given, implementation=self.backend, **settings)

        out, pull = jax.vjp(run, x, kernel, bias)
        return out, *pull(dout)

    @pytest.mark.parametrize("name", SIZES)
    def test_value_and_gradients(self, name):
        given = arrays(*SIZES[name])
        for ours, truth in zip(jax.jit(self.results)(*given), exact(*given), strict=True):
            assert ours.shape == truth.shape and ours.dtype == jnp.float32
            np.testing.assert_allclose(ours, truth, rtol=1e-5, atol=1e-5)

    def test_factors_are_rounded_and_sums_are_not(self):
        x, kernel, bias, dout = arrays(40, 64, 24)
        rounded = [np.asarray(a.astype(jnp.bfloat16), np.float64) for a in (x, kernel, dout)]
        ours = self.results(x, kernel, bias, dout, dtype="bfloat16")
        truth = exact(rounded[0], rounded[1], bias, rounded[2])[:3]
        for name, a, b in zip(("out", "dx", "dkernel"), ours, truth, strict=False):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-4, err_msg=name)
        np.testing.assert_allclose(ours[3], exact(x, kernel, bias, dout)[3], rtol=1e-5, atol=1e-5)

    def test_bfloat16_stays(self):
        given = [a.astype(jnp.bfloat16) for a in arrays(12, 16, 8)]
        for ours, truth in zip(self.results(*given), exact(*given), strict=True):
            assert ours.dtype == jnp.bfloat16
            np.testing.assert_allclose(np.asarray(ours, np.float64), truth, rtol=1e-2, atol=1e-2)

    def test_without_a_bias(self):
        x, kernel, _, dout = arrays(5, 3, 4)
        out, pull = jax.vjp(lambda x, k: linear(x, k, implementation=self.backend), x, kernel)
        np.testing.assert_allclose(out, np.asarray(x) @ np.asarray(kernel), rtol=1e-5, atol=1e-6)
        assert len(pull(dout)) == 2


class TestReference(LinearSuite):
    """Held to float64, like the others."""


class TestXLA(LinearSuite):
    backend = "xla"


class XLACPUSuite(LinearSuite):
    """Inherit with `has_bfloat16`, whether the CPU has instructions for it."""

    backend = "xla_cpu"
    has_bfloat16 = True

    @pytest.fixture(autouse=True)
    def cpu(self, monkeypatch):
        monkeypatch.setattr(machine, "multiplies_bfloat16", lambda: self.has_bfloat16)


class TestXLACPUWithoutBfloat16(XLACPUSuite):
    has_bfloat16 = False

    def test_compiled_factors_are_rounded(self):
        """XLA might take a cast to bfloat16 and back for nothing."""
        given = arrays(40, 64, 24)
        run = functools.partial(self.results, dtype="bfloat16")
        for once, compiled in zip(run(*given), jax.jit(run)(*given), strict=True):
            np.testing.assert_allclose(once, compiled, rtol=1e-5, atol=1e-4)

    def test_products_are_float32s(self):
        run = functools.partial(self.results, dtype="bfloat16")
        code = jax.jit(run).lower(*arrays(40, 64, 24)).as_text()
        products = [line for line in code.splitlines() if "dot_general" in line]
        assert len(products) == 4 and not any("bf16" in line for line in products)


class TestXLACPU(XLACPUSuite):
    def test_turned_products_are_not_fused(self):
        """What the backend is for: after XLA's passes, no product sums over a factor's rows."""
        x, kernel, _, dout = arrays(256, 128, 256)

        def run(x, kernel, dout):
            return jax.vjp(functools.partial(linear, dtype="bfloat16"), x, kernel)[1](dout)

        code = jax.jit(run).lower(x, kernel, dout).compile().as_text()
        dots = re.findall(r"dot\(.*?lhs_contracting_dims={(\d)}, rhs_contracting_dims={(\d)}", code)
        assert dots == [("1", "0")] * 2

    def test_a_lone_rows_factors_stay_bfloat16(self):
        """What XLA would take to float32 first, the kernel too, twice the bytes to read."""
        x, kernel, *_ = (a.astype(jnp.bfloat16) for a in arrays(3, 64, 1024))
        product = jax.jit(lambda x: linear(x, kernel))
        np.testing.assert_array_equal(product(x[:1]), product(x)[:1])
        call = jax.jit(linear).lower(x[:1], kernel).compile()
        assert call.memory_analysis().temp_size_in_bytes < kernel.nbytes


def test_on_a_cpu_auto_is_its_own():
    x, kernel, bias, _ = arrays(8, 4, 4)

    def text(implementation):
        run = jax.grad(lambda x: jnp.sum(linear(x, kernel, bias, implementation=implementation)))
        return str(jax.make_jaxpr(run)(x))

    assert text("auto") == text("xla_cpu") != text("xla")


X, KERNEL = jnp.zeros((2, 8)), jnp.zeros((8, 6))
BAD = {
    "x must be (..., D) with no axis of size 0": dict(x=X[:0]),
    "kernel must be (8, E), got (7, 6)": dict(kernel=jnp.zeros((7, 6))),
    "bias must be (6,), got (8,)": dict(bias=jnp.zeros(8)),
    "x must be of float32, bfloat16, float16, got int32": dict(x=X.astype(int)),
    "dtype must be one of float32, bfloat16, float16, got int8": dict(dtype="int8"),
    "dtype must be one of float32, bfloat16, float16, got float64": dict(dtype="float64"),
    "dtype must be one of float32, bfloat16, float16, got bf16": dict(dtype="bf16"),
    "implementation 'cublas' is unknown": dict(implementation="cublas"),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments_are_named(message):
    given = dict(x=X, kernel=KERNEL, bias=None) | BAD[message]
    with pytest.raises(ValueError, match=re.escape(message)):
        linear(given.pop("x"), given.pop("kernel"), given.pop("bias"), **given)


def test_threads_share_a_lone_rows_matrix(monkeypatch):
    monkeypatch.setattr(xla_cpu, "threads", lambda: 5)
    x, kernel, bias, dout = arrays(1, 384, 1024)

    def parts(inputs):
        code = jax.make_jaxpr(linear)(x[:, :inputs], kernel[:inputs])
        return set(re.findall(r"f32\[(\d+),1,1024\]", str(code)))

    assert parts(384) == {"4"}  # of equal size, at most a thread's
    assert parts(48) == {"1"}  # too little to share
    truth = exact(x, kernel, bias, dout)[0]
    np.testing.assert_allclose(linear(x, kernel, bias), truth, rtol=1e-5, atol=1e-4)
