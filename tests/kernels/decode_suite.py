"""What every backend of decode attention must show; a test file inherits it for one backend."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels.attention import attention
from kernels.attention.decode import decode_attention, paged_decode_attention
from kernels.machine import interpreted
from tests.kernels.attention_suite import close

SETTINGS = {
    "plain": {},
    "window": dict(window=20),
    "softcap": dict(softcap=2.0),
    "scale": dict(scale=0.3),
}
HEADS = {"each": (2, 2), "grouped": (8, 2), "multi_query": (3, 1)}


def cache(*, batch=3, length=150, heads=4, key_heads=2, size=64, dtype="float32"):
    q, k, v = jax.random.split(jax.random.key(length), 3)
    kv = (batch, key_heads, length, size)
    shapes = ((batch, heads, size), kv, kv)
    return [
        jax.random.normal(rng, s).astype(dtype) for rng, s in zip((q, k, v), shapes, strict=True)
    ]


def in_pages(k, v, page, seed=0):
    """The cache cut into pages that lie in any order, among pages of NaN, and their table."""
    batch, key_heads, length, size = k.shape
    each = -(-length // page)
    padding = [(0, 0), (0, 0), (0, each * page - length), (0, 0)]
    order = np.random.default_rng(seed).permutation(batch * each + 5)
    table = jnp.asarray(order[: batch * each].reshape(batch, each), jnp.int32)
    full = jnp.full((len(order), key_heads, page, size), jnp.nan, k.dtype)
    found = []
    for x in (k, v):
        x = jnp.pad(x, padding, constant_values=jnp.nan)
        pages = jnp.swapaxes(x.reshape(batch, key_heads, each, page, size), 1, 2)
        found.append(full.at[table].set(pages))
    return *found, table


class DecodeSuite:
    """Inherit with `backend`, and with the interpreter it needs."""

    backend = "reference"
    interpreter = None
    tolerance = 2e-5
    bfloat16_tolerance = 2e-2
    page = 16

    def run(self, op, *given, **settings):
        inside = interpreted(self.interpreter) if self.interpreter else contextlib.nullcontext()
        with inside:
            return op(*given, **settings, implementation=self.backend)

    def agree(self, q, k, v, lengths, tolerance=None, **settings):
        lengths = jnp.array(lengths)
        exact = [x.astype(jnp.float32) for x in (q, k, v)]
        truth = decode_attention(*exact, lengths, **settings, implementation="reference")
        dense = self.run(decode_attention, q, k, v, lengths, **settings)
        close(dense, truth, tolerance or self.tolerance, "dense")
        pages = in_pages(k, v, self.page)
        paged = self.run(paged_decode_attention, q, *pages[:2], lengths, pages[2], **settings)
        close(paged, truth, tolerance or self.tolerance, "paged")

    def test_a_window_beyond_the_cache_is_none(self):
        q, k, v = cache()
        given = q, k, v, jnp.array([150, 3, 0])
        whole, beyond = (self.run(decode_attention, *given, window=w) for w in (None, 2**31))
        np.testing.assert_array_equal(beyond, whole)

    @pytest.mark.parametrize("name", SETTINGS)
    def test_dense_and_paged(self, name):
        self.agree(*cache(), [150, 1, 77], **SETTINGS[name])

    @pytest.mark.parametrize("name", HEADS)
    def test_heads(self, name):
        heads, key_heads = HEADS[name]
        self.agree(*cache(heads=heads, key_heads=key_heads), [150, 16, 33])

    @pytest.mark.parametrize("size", [128, 256])
    def test_sizes(self, size):
        self.agree(*cache(batch=1, length=40, size=size), [40])

    def test_bfloat16(self):
        self.agree(*cache(dtype="bfloat16"), [150, 1, 77], tolerance=self.bfloat16_tolerance)

    def test_an_empty_sequence_gets_zero(self):
        q, k, v = cache()
        lengths = jnp.array([0, 150, 3])
        out = self.run(decode_attention, q, k, v, lengths)
        pages = in_pages(k, v, self.page)
        paged = self.run(paged_decode_attention, q, *pages[:2], lengths, pages[2])
        assert np.all(np.asarray(out)[0] == 0) and np.all(np.asarray(paged)[0] == 0)

    def test_what_lies_beyond_a_length_changes_no_bit(self):
        q, k, v = cache()
        lengths = jnp.array([70, 1, 150])
        beyond = (jnp.arange(150)[None, :] >= lengths[:, None])[:, None, :, None]
        out = self.run(decode_attention, q, k, v, lengths)
        spoilt = [jnp.where(beyond, 1e30, x) for x in (k, v)]
        np.testing.assert_array_equal(out, self.run(decode_attention, q, *spoilt, lengths))

    def test_is_the_last_row_of_attention(self):
        q, k, v = cache(length=90)
        kv = (jnp.swapaxes(x, 1, 2) for x in (k, v))
        queries = jnp.repeat(q[:, None], 90, axis=1)
        whole = attention(queries, *kv, causal=True, implementation="reference")
        lengths = jnp.array([90, 41, 8])
        out = self.run(decode_attention, q, k, v, lengths)
        close(out, whole[jnp.arange(3), lengths - 1], self.tolerance, "row")
