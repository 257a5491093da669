"""Decode attention's reference passes its suite; its arguments are checked."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels.attention.decode import decode_attention, paged_decode_attention, xla
from kernels.attention.decode.shapes import CASES
from tests.kernels.decode_suite import DecodeSuite


class TestReference(DecodeSuite):
    """The truth against attention's own reference, and its own promises."""


Q, K = jnp.zeros((2, 4, 64)), jnp.zeros((2, 2, 8, 64))
BAD = {
    "q must be (B, H, D)": dict(q=Q[0]),
    "k must be (B=2, K, S, D)": dict(k=K[:1], v=K[:1]),
    "v must have k's shape": dict(v=K[:, :, :3]),
    "k must have q's head size 64, got 32": dict(k=K[..., :32], v=K[..., :32]),
    "q's heads must be a multiple of k's 2, got 3": dict(q=Q[:, :3]),
    "lengths must be integers (2,)": dict(lengths=jnp.zeros(2)),
    "window must be an integer from 0 on": dict(window=-2),
    "window must be an integer from 0 on or None": dict(window=1.5),
    "softcap must be positive": dict(softcap=-1.0),
    "softcap must be positive and finite": dict(softcap=float("inf")),
    "scale must be finite, or None, got inf": dict(scale=float("inf")),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments_are_named(message):
    given = dict(q=Q, k=K, v=K, lengths=jnp.ones(2, int)) | BAD[message]
    arrays = [given.pop(name) for name in ("q", "k", "v", "lengths")]
    with pytest.raises(ValueError, match=re.escape(message)):
        decode_attention(*arrays, **given)


def test_numbers_of_arrays_are_settings_too(monkeypatch):
    """Compilers take Python's alone."""
    q, k = (jax.random.normal(jax.random.key(0), array.shape) for array in (Q, K))
    lengths, made = jnp.array([3, 8]), []
    monkeypatch.setattr(xla, "refuses", lambda _, settings: made.append(settings))
    numbers = dict(window=np.int64(2), scale=np.float32(0.25), softcap=jnp.float32(2))
    ours = decode_attention(q, k, k, lengths, **numbers, implementation="xla")
    plain = dict(window=2, scale=0.25, softcap=2.0)
    theirs = decode_attention(q, k, k, lengths, **plain, implementation="xla")
    np.testing.assert_array_equal(ours, theirs)
    assert repr(made[0]) == repr(made[1])


def test_a_bad_page_table_is_named():
    with pytest.raises(ValueError, match=re.escape("pages must be integers (B=2, M)")):
        paged_decode_attention(Q, K, K, jnp.ones(2, int), jnp.zeros((3, 1), int))
    with pytest.raises(ValueError, match="M at least 1"):
        paged_decode_attention(Q, K, K, jnp.ones(2, int), jnp.zeros((2, 0), int))


@pytest.mark.parametrize("name", CASES)
def test_a_case_draws_what_its_work_says(name):
    """Full sequences, and each page once: less would be done in less than the floor."""
    case = CASES[name]
    places = range(3, len(case.arrays))
    lengths, *table = (case.one(i, case.arrays[i], jax.random.key(i)) for i in places)
    batch, (count, _, positions, _) = len(lengths), case.arrays[1].shape
    assert lengths.tolist() == [count * positions // batch] * batch
    for pages in table:
        assert sorted(pages.ravel().tolist()) == list(range(count))
