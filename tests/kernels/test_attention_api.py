"""attention's reference is JAX's own; its arguments are checked; a refused backend says why."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels.attention import attention
from kernels.attention.api import checked
from tests.kernels.attention_suite import AttentionSuite, arrays


class TestReference(AttentionSuite):
    """The truth passes its own suite: what isn't a comparison with it can fail."""


@pytest.mark.parametrize(
    ("settings", "theirs"),
    [
        ({}, {}),
        (dict(causal=True), dict(is_causal=True)),
        (dict(window=9), dict(local_window_size=9)),
        (dict(window=(9, 4)), dict(local_window_size=(9, 4))),
        (dict(causal=True, window=9), dict(is_causal=True, local_window_size=(9, 0))),
        (dict(scale=0.2), dict(scale=0.2)),
    ],
)
def test_reference_is_jax_nn(settings, theirs):
    given = arrays(heads=4, key_heads=2)
    ours = attention(*given, **settings, implementation="reference")
    truth = jax.nn.dot_product_attention(*given, **theirs)
    np.testing.assert_allclose(ours, truth, atol=2e-6)


def test_softcap_is_gemmas():
    q, k, v = arrays(batch=1, heads=1)
    logits = 2.0 * jnp.tanh(jnp.einsum("bthd,bshd->bhts", q, k) / 8.0 / 2.0)
    truth = jnp.einsum("bhts,bshd->bthd", jax.nn.softmax(logits), v)
    ours = attention(q, k, v, softcap=2.0, implementation="reference")
    np.testing.assert_allclose(ours, truth, atol=2e-6)


@pytest.mark.parametrize("number", [np.float32, jnp.float32])
def test_numbers_of_arrays_are_settings_too(number):
    """Compilers take Python's alone, and gradients none that can't be hashed."""
    given = arrays(heads=4, key_heads=2)

    def total(q, **settings):
        return attention(q, *given[1:], window=np.int64(3), **settings).sum()

    ours = jax.grad(total)(given[0], scale=number(0.25), softcap=number(2))
    np.testing.assert_array_equal(ours, jax.grad(total)(given[0], scale=0.25, softcap=2.0))
    _, settings = checked(
        *given, False, (np.int64(3), None), None, None, softcap=number(2), scale=number(0.25)
    )
    assert [type(n) for n in (settings.scale, settings.softcap, settings.left)] == [
        float,
        float,
        int,
    ]


Q, K, V = (jnp.zeros((2, 8, 4, 64)), jnp.zeros((2, 6, 2, 64)), jnp.zeros((2, 6, 2, 64)))
BAD = {
    "q must have 4 axes": dict(q=Q[0]),
    "k must be of q's dtype float32": dict(k=K.astype(jnp.bfloat16)),
    "q must be of float32, bfloat16, float16, got int32": dict(q=Q.astype(jnp.int32)),
    "v must have k's shape (2, 6, 2, 64)": dict(v=V[:, :5]),
    "k must have q's batch and head size": dict(k=K[:1], v=V[:1]),
    "q's heads must be a multiple of k's 2, got 3": dict(q=Q[:, :, :3]),
    "k must have no axis of size 0": dict(k=K[:, :0], v=V[:, :0]),
    "window must be None or an integer from 0 on": dict(window=-1),
    "window must be None or an integer from 0 on, or": dict(window=2.5),
    "or a pair (before, after) of such, got (1, 2, 3)": dict(window=(1, 2, 3)),
    "softcap must be positive": dict(softcap=0.0),
    "softcap must be positive and finite": dict(softcap=float("inf")),
    "scale must be finite, or None, got nan": dict(scale=float("nan")),
    "bias must be of float32, bfloat16, float16, got bool": dict(bias=jnp.ones((8, 6), bool)),
    "bias must broadcast to (B, H, T, S) = (2, 4, 8, 6)": dict(bias=jnp.zeros((5, 6))),
    "segment_ids must be integers (2, 8) and (2, 6)": dict(segment_ids=jnp.zeros((2, 8), int)),
    "segment_ids must be one array or a pair, got 3": dict(
        segment_ids=(jnp.zeros((2, 8), int),) * 3
    ),
    "implementation 'cudnn' is unknown; allowed: auto, reference": dict(implementation="cudnn"),
    "implementation is an empty sequence": dict(implementation=()),
    "triton: needs a GPU, this is cpu": dict(implementation=("triton", "mosaic_tpu")),
    "mosaic_tpu: needs a TPU, this is cpu": dict(implementation=("triton", "mosaic_tpu")),
    "mosaic_gpu: needs a gpu-sm90, this is cpu": dict(implementation=("mosaic_gpu", "triton")),
}


@pytest.mark.parametrize("window", [8, 2**31 - 1, 2**40])
@pytest.mark.parametrize("implementation", ["reference", "xla"])
def test_a_window_that_reaches_all_is_none(window, implementation):
    q, k, v = (jax.random.normal(jax.random.key(i), (1, 8, 1, 16)) for i in range(3))
    ours, all_seen = (
        attention(q, k, v, window=w, implementation=implementation) for w in (window, None)
    )
    np.testing.assert_array_equal(ours, all_seen)


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments_are_named(message):
    given = dict(q=Q, k=K, v=V, implementation="reference") | BAD[message]
    with pytest.raises(ValueError, match=re.escape(message)):
        attention(given.pop("q"), given.pop("k"), given.pop("v"), **given)
