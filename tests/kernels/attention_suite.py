"""What every backend of `attention` must show; a test file inherits it for one backend.

`BandSuite` is what a backend without bias, segments and softcap can show, `AttentionSuite` is all.
"""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels.attention import attention
from kernels.machine import interpreted

# Sizes, then arguments. Lengths that divide nothing, two or three blocks of most backends' tests.
EXAMPLES = {
    "plain": (dict(), {}),
    "causal": (dict(), dict(causal=True)),
    "odd": (dict(queries=67, keys=131), {}),
    "odd_causal": (dict(queries=131, keys=67), dict(causal=True)),
    "one_query": (dict(queries=1, keys=40), {}),
    "window": (dict(queries=150, keys=150), dict(window=20)),
    "one_sided_window": (dict(), dict(window=(17, None))),
    "queries_past_the_window": (dict(queries=200, keys=40), dict(window=(10, None))),
    "causal_window": (dict(queries=150, keys=150), dict(causal=True, window=30)),
    "grouped": (dict(heads=4, key_heads=2), dict(causal=True)),
    "multi_query": (dict(heads=3, key_heads=1), {}),
    "scale": (dict(), dict(scale=0.3)),
}
OTHERS = {
    "softcap": (dict(), dict(softcap=2.0, causal=True)),
    "size_128": (dict(size=128, heads=1, queries=40, keys=40), dict(causal=True)),
    "size_256": (dict(size=256, heads=1, queries=40, keys=40), {}),
}
BIASES = {"full": (2, 2, 90, 90), "one_head": (1, 1, 90, 90), "of_keys": (2, 1, 1, 90)}


def arrays(*, batch=2, queries=90, keys=90, heads=2, key_heads=None, size=64, dtype="float32"):
    q, k, v = jax.random.split(jax.random.key(queries + keys), 3)
    kv = (batch, keys, key_heads or heads, size)
    shapes = ((batch, queries, heads, size), kv, kv)
    return [
        jax.random.normal(rng, s).astype(dtype) for rng, s in zip((q, k, v), shapes, strict=True)
    ]


def packed_segments(batch=2, length=90):
    """Documents of several lengths, and a last one of padding that meets no other."""
    ends = jnp.array([[13, 50, 51, 80], [1, 2, 60, 90]])[:batch]
    return jnp.sum(jnp.arange(length)[None, :, None] >= ends[:, None, :], axis=-1)


class BandSuite:
    """Inherit with `backend`, with the interpreter it needs and, of what it takes, arrays."""

    backend = "reference"
    interpreter = None
    size = 64
    dtype = "float32"
    tolerance = 2e-5  # of the largest element; products of float32
    bfloat16_tolerance = 2e-2

    def arrays(self, **sizes):
        return arrays(**(dict(size=self.size, dtype=self.dtype) | sizes))

    def inside(self):
        return interpreted(self.interpreter) if self.interpreter else contextlib.nullcontext()

    def run(self, *given, **settings):
        with self.inside():
            return attention(*given, **settings, implementation=self.backend)

    def value_and_gradients(self, run, given, **settings):
        def scalar(*moved):
            out = run(*moved, **settings)
            return jnp.sum(out * jnp.cos(jnp.arange(out.size)).reshape(out.shape)), out

        argnums = tuple(range(len(given)))
        with self.inside():  # the backward pass is traced after `run` has ended
            (_, out), gradients = jax.value_and_grad(scalar, argnums, has_aux=True)(*given)
        return [out, *gradients]

    def agree(self, given, tolerance=None, **settings):
        mine = self.value_and_gradients(self.run, given, **settings)
        exact = [x.astype(jnp.float32) for x in given]
        truth = self.value_and_gradients(reference, exact, **settings)
        for name, ours, theirs in zip(
            ("out", "dq", "dk", "dv", "dbias"), mine, truth, strict=False
        ):
            assert ours.shape == theirs.shape, name
            close(ours, theirs, tolerance or self.tolerance, name)

    @pytest.mark.parametrize("name", EXAMPLES)
    def test_value_and_gradient(self, name):
        sizes, settings = EXAMPLES[name]
        self.agree(self.arrays(**sizes), **settings)

    def test_bfloat16(self):
        self.agree(self.arrays(dtype="bfloat16"), tolerance=self.bfloat16_tolerance, causal=True)

    def test_the_future_is_not_seen(self):
        q, k, v = self.arrays(batch=1)
        out = self.run(q, k, v, causal=True)
        moved = self.run(q, k.at[:, 60:].add(1.0), v.at[:, 60:].add(1.0), causal=True)
        np.testing.assert_array_equal(np.asarray(out)[:, :60], np.asarray(moved)[:, :60])
        assert np.any(np.asarray(out)[:, 60:] != np.asarray(moved)[:, 60:])

    def test_same_bits_twice(self):
        given = self.arrays(heads=4, key_heads=2)
        first, second = (self.value_and_gradients(self.run, given, causal=True) for _ in range(2))
        for a, b in zip(first, second, strict=True):
            np.testing.assert_array_equal(np.asarray(a), np.asarray(b))

    def test_logits_of_any_size(self):
        """The softmax neither overflows nor loses rows: logits of +-1e4."""
        q, k, v = self.arrays()
        self.agree([80 * q, 30 * k, v], tolerance=2e-3)


class AttentionSuite(BandSuite):
    """All that `attention` takes."""

    @pytest.mark.parametrize("name", OTHERS)
    def test_value_and_gradient_of_others(self, name):
        sizes, settings = OTHERS[name]
        self.agree(self.arrays(**sizes), **settings)

    @pytest.mark.parametrize("causal", [False, True])
    def test_packed_documents(self, causal):
        self.agree(self.arrays(), segment_ids=packed_segments(), causal=causal)

    def test_segments_of_queries_and_keys(self):
        ids = packed_segments(), packed_segments(length=70)
        self.agree(self.arrays(keys=70), segment_ids=ids)

    @pytest.mark.parametrize("shape", BIASES.values(), ids=BIASES)
    def test_bias(self, shape):
        def run(q, k, v, bias, **settings):
            return self.run(q, k, v, bias=bias, **settings)

        def truth(q, k, v, bias, **settings):
            return reference(q, k, v, bias=bias, **settings)

        given = [*self.arrays(), jax.random.normal(jax.random.key(7), shape)]
        mine = self.value_and_gradients(run, given, causal=True)
        theirs = self.value_and_gradients(truth, given, causal=True)
        for name, a, b in zip(("out", "dq", "dk", "dv", "dbias"), mine, theirs, strict=True):
            close(a, b, self.tolerance, name)

    def test_a_bias_of_keys_that_is_large(self):
        """Its weights are those without it, and queries that are not there take part in no sum."""
        given = self.arrays()
        bias = jnp.full((90,), 100.0)
        plain = self.value_and_gradients(self.run, given)
        for name, ours, theirs in zip(
            ("out", "dq", "dk", "dv"),
            self.value_and_gradients(self.run, given, bias=bias),
            plain,
            strict=True,
        ):
            close(ours, theirs, 10 * self.tolerance, name)  # logits near 100 have fewer digits

    def test_a_bias_of_the_least_number_hides_as_minus_infinity_does(self):
        """And one of -1e30; also where they hide every key of a query."""
        given = self.arrays()
        shown = jax.random.bernoulli(jax.random.key(5), 0.5, (2, 1, 90, 90)).at[0, 0, 7].set(False)
        hides = jnp.where(jnp.arange(90) % 2, jnp.finfo("float32").min, -1e30)
        hidden, least = (jnp.where(shown, 0.0, bias) for bias in (-jnp.inf, hides))
        exact = self.value_and_gradients(self.run, given, bias=hidden)
        for ours, theirs in zip(
            self.value_and_gradients(self.run, given, bias=least), exact, strict=True
        ):
            np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))
        assert np.all(np.asarray(exact[0])[0, 7] == 0) and np.all(np.asarray(exact[1])[0, 7] == 0)
        assert all(np.isfinite(np.asarray(x)).all() for x in exact)

    def test_a_bias_just_above_the_one_that_hides_does_not(self):
        """Beside it all logits round to the same, so that the output is the values' mean."""
        q, k, v = self.arrays()
        least = np.nextafter(np.float32(-1e30), np.float32(0))
        out = self.run(q, k, v, bias=jnp.full((90,), least))
        mean = jnp.broadcast_to(jnp.mean(v, axis=1, keepdims=True), out.shape)
        close(out, mean, self.tolerance, "out")

    @pytest.mark.parametrize("bias", [-1e10, -1e20, -1e30])
    def test_the_first_keys_of_all_queries_have_a_large_bias(self, bias):
        """They have no weight, however far the logits of the first block are from the others."""
        left_padding = jnp.where(jnp.arange(90) < 40, bias, 0.0)
        self.agree(self.arrays(), bias=left_padding)

    def test_everything_at_once(self):
        given = self.arrays(heads=4, key_heads=2)
        bias = jax.random.normal(jax.random.key(3), (1, 4, 90, 90))
        settings = dict(causal=True, window=40, softcap=3.0, segment_ids=packed_segments())
        self.agree(given, bias=bias, **settings)

    def test_a_query_that_sees_no_key_gets_zero(self):
        """Segment 9 is no key's."""
        ids = packed_segments().at[0, 5].set(9), packed_segments()
        given = self.arrays()
        out, *gradients = self.value_and_gradients(self.run, given, segment_ids=ids)
        assert np.all(np.asarray(out)[0, 5] == 0)
        assert np.all(np.asarray(gradients[0])[0, 5] == 0)
        assert all(np.isfinite(np.asarray(x)).all() for x in (out, *gradients))

    def test_packing_leaks_exactly_nothing(self):
        """A document's output has the same bits whatever stands in the others."""
        q, k, v = self.arrays()
        ids = packed_segments()
        other = (ids != 1)[..., None, None]
        out = self.run(q, k, v, segment_ids=ids)
        moved = self.run(q, jnp.where(other, 3 * k, k), jnp.where(other, -v, v), segment_ids=ids)
        inside = np.asarray(ids == 1)
        np.testing.assert_array_equal(np.asarray(out)[inside], np.asarray(moved)[inside])


def reference(*given, **settings):
    return attention(*given, **settings, implementation="reference")


def close(ours, theirs, tolerance, name):
    ours, theirs = np.asarray(ours, np.float32), np.asarray(theirs, np.float32)
    worst = np.abs(ours - theirs).max() / max(np.abs(theirs).max(), 1e-6)
    assert np.isfinite(ours).all() and worst <= tolerance, f"{name}: {worst:.2e} > {tolerance:.0e}"
