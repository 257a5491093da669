"""The reference is Flax's norms and has true gradients; arguments are checked."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from kernels.normalization import layer_norm, rms_norm
from tests.kernels.normalization_suite import NormalizationSuite, arrays


class TestReference(NormalizationSuite):
    """The truth passes its own suite: what isn't a comparison with it can fail."""


@pytest.mark.parametrize("implementation", ["reference", "xla"])
def test_flax(implementation):
    x, scale, bias, _ = arrays("layer", (7, 130), "sb")
    rms = nn.RMSNorm(epsilon=1e-6).apply({"params": {"scale": scale}}, x)
    layer = nn.LayerNorm(epsilon=1e-6).apply({"params": {"scale": scale, "bias": bias}}, x)
    settings = dict(implementation=implementation)
    np.testing.assert_allclose(rms_norm(x, scale, **settings), rms, atol=2e-6)
    np.testing.assert_allclose(rms_norm(x, scale - 1, offset=1.0, **settings), rms, atol=2e-6)
    np.testing.assert_allclose(layer_norm(x, scale, bias, **settings), layer, atol=2e-6)


@pytest.mark.parametrize("implementation", ["reference", "xla"])
def test_gradients_are_those_of_finite_differences(implementation):
    x, scale, bias, residual = arrays("layer", (3, 12), "sbr")
    settings = dict(implementation=implementation)

    def rms(x, scale, residual):
        return rms_norm(x, scale, residual=residual, offset=1.0, **settings)

    def layer(x, scale, bias, residual):
        return layer_norm(x, scale, bias, residual=residual, **settings)

    check_grads(rms, (x, scale, residual), order=1, modes=["rev"], atol=2e-2, rtol=2e-2)
    check_grads(layer, (x, scale, bias, residual), order=1, modes=["rev"], atol=2e-2, rtol=2e-2)


def test_a_default_call_is_jitted_and_batched():
    x, scale, bias, residual = arrays("layer", (4, 6, 30), "sbr")
    jitted = jax.jit(lambda *given: layer_norm(*given[:3], residual=given[3]))
    outs = jitted(x, scale, bias, residual)
    one = jax.vmap(lambda x, r: layer_norm(x, scale, bias, residual=r))(x, residual)
    for a, b in zip(outs, one, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


X, D = jnp.zeros((2, 3, 8)), jnp.ones(8)
BAD = {
    "x must be (..., D) with no axis of size 0, got (0, 8)": dict(x=X[:0, 0]),
    "x must be (..., D) with no axis of size 0, got (2, 3, 0)": dict(x=X[..., :0]),
    "x must be (..., D) with no axis of size 0, got ()": dict(x=X[0, 0, 0]),
    "x must be of float32, bfloat16, float16, got int32": dict(x=X.astype(jnp.int32)),
    "scale must be (D,) = (8,), got (7,)": dict(scale=D[:7]),
    "scale must be of float32, bfloat16, float16, got int32": dict(scale=D.astype(jnp.int32)),
    "bias must be (D,) = (8,), got (1, 8)": dict(bias=D[None]),
    "residual must have x's shape (2, 3, 8), got (3, 8)": dict(residual=X[0]),
    "epsilon must be positive, got 0.0": dict(epsilon=0.0),
    "implementation 'cudnn' is unknown; allowed: auto, reference": dict(implementation="cudnn"),
    "triton: needs a GPU, this is cpu": dict(implementation="triton"),
    "mosaic_tpu: needs a TPU, this is cpu": dict(implementation="mosaic_tpu"),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments_are_named(message):
    given = dict(x=X, scale=D, bias=D, implementation="reference") | BAD[message]
    with pytest.raises(ValueError, match=re.escape(message)):
        layer_norm(given.pop("x"), given.pop("scale"), given.pop("bias"), **given)


def test_an_offset_without_scale_is_refused():
    with pytest.raises(ValueError, match=re.escape("offset must be 0 without scale, got 1.0")):
        rms_norm(X, offset=1.0)
