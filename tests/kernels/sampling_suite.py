"""What every backend of `sample` must show; a test file inherits it for one backend."""

import contextlib
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from kernels.machine import interpreted
from kernels.sampling import sample
from kernels.sampling.api import Arrays, Settings

FILTERS = {
    "plain": {},
    "hot": dict(temperature=1.7),
    "cold": dict(temperature=0.3),
    "greedy": dict(temperature=0),
    "top_1": dict(top_k=1),
    "top_k": dict(top_k=7),
    "top_p": dict(top_p=0.8),
    "narrow_top_p": dict(top_p=1e-6),
    "whole_top_p": dict(top_p=1.0),
    "min_p": dict(min_p=0.1),
    "all": dict(temperature=0.8, top_k=20, top_p=0.9, min_p=0.02),
}
RNG = jax.random.key(5)


def logits(batch=5, size=300, dtype="float32"):
    return (2 * jax.random.normal(jax.random.key(size), (batch, size))).astype(dtype)


class SamplingSuite:
    """Inherit with `backend`, and with the interpreter it needs."""

    backend = "reference"
    interpreter = None
    sizes = (1, 2, 127, 128, 129, 1000)
    short_floats = ("bfloat16", "float16")
    draws = 100_000
    alike = 64  # rows of one distribution
    tolerance = 2e-6  # of log-probabilities

    def inside(self):
        return interpreted(self.interpreter) if self.interpreter else contextlib.nullcontext()

    def sample(self, *given, **settings):
        with self.inside():
            return sample(*given, **settings, implementation=self.backend)

    def agree(self, given, **settings):
        tokens, log_probs = self.sample(given, RNG, **settings)
        truth = sample(given, RNG, **settings, implementation="reference")
        assert tokens.dtype == jnp.int32 and log_probs.dtype == jnp.float32
        np.testing.assert_array_equal(tokens, truth.tokens_B)
        np.testing.assert_allclose(log_probs, truth.log_probs_B, atol=self.tolerance, rtol=1e-6)
        return tokens, log_probs

    @pytest.mark.parametrize("name", FILTERS)
    def test_draws_are_the_references(self, name):
        self.agree(logits(), **FILTERS[name])

    def test_odd_sizes(self):
        for size in self.sizes:
            settings = dict(top_k=max(1, size // 2), top_p=0.9, min_p=0.01)
            tokens, _ = self.agree(logits(3, size), **settings)
            assert np.all((np.asarray(tokens) >= 0) & (np.asarray(tokens) < size))

    def test_short_floats(self):
        """They have many ties."""
        for dtype in self.short_floats:
            self.agree(logits(dtype=dtype), top_k=40, top_p=0.85)

    def test_same_bits_twice(self):
        first, second = (self.sample(logits(), RNG, top_p=0.7) for _ in range(2))
        np.testing.assert_array_equal(first.tokens_B, second.tokens_B)
        np.testing.assert_array_equal(first.log_probs_B, second.log_probs_B)

    def test_a_row_is_drawn_alike_in_any_batch(self):
        given = logits(batch=11)
        whole = self.sample(given, RNG, top_p=0.9).tokens_B
        for fewer in (1, 3, 8):
            some = self.sample(given[:fewer], RNG, top_p=0.9).tokens_B
            np.testing.assert_array_equal(some, whole[:fewer])
        others = given.at[1:].set(-given[1:])
        assert self.sample(others, RNG, top_p=0.9).tokens_B[0] == whole[0]

    def test_rows_and_keys_are_independent(self):
        alike = jnp.zeros((64, 50))
        here = np.asarray(self.sample(alike, RNG).tokens_B)
        there = np.asarray(self.sample(alike, jax.random.key(6)).tokens_B)
        assert len(set(here)) > 20 and np.mean(here == there) < 0.2

    def supports(self, row, **settings):
        """The tokens that are drawn from many rows alike."""
        rows = jnp.broadcast_to(jnp.asarray(row, jnp.float32), (self.alike, len(row)))
        drawn = self.sample(rows, RNG, **settings)
        shares = np.bincount(drawn.tokens_B)[drawn.tokens_B] / self.alike
        np.testing.assert_allclose(np.exp(drawn.log_probs_B), shares, atol=0.25)
        return sorted(set(np.asarray(drawn.tokens_B).tolist()))

    def test_top_p_keeps_the_token_that_crosses(self):
        """Masses 1/2, 1/4, 1/8, 1/8, exact in float32, in an order that isn't theirs."""
        row = np.log([0.125, 0.5, 0.125, 0.25])
        assert self.supports(row, top_p=0.5) == [1]
        assert self.supports(row, top_p=0.51) == [1, 3]
        assert self.supports(row, top_p=0.75) == [1, 3]
        assert self.supports(row, top_p=0.76) == [0, 1, 3]
        assert self.supports(row, top_p=0.88) == [0, 1, 2, 3]

    def test_of_equals_the_first_are_kept(self):
        assert self.supports([0.0] * 8, top_p=0.5) == [0, 1, 2, 3]
        assert self.supports([0.0] * 8, top_p=0.51) == [0, 1, 2, 3, 4]
        assert self.supports([1.0, 2, 1, 2, 2, 1], top_k=2) == [1, 3]
        assert self.supports([1.0, 2, 1, 2, 2, 1], top_k=4) == [0, 1, 3, 4]
        assert self.supports([0.0] * 8, min_p=1.0) == list(range(8))

    def test_many_equals_are_cut_at_their_index(self):
        """200 of 400, over the blocks' edges: none beyond, and draws come close to the edge."""
        drawn = self.supports([0.0] * 400, top_p=0.5)
        assert 190 <= max(drawn) <= 199
        _, log_probs = self.agree(jnp.zeros((7, 400)), top_k=390, top_p=0.5)
        np.testing.assert_allclose(log_probs, -np.log(195), rtol=1e-6)

    def test_filters_work_in_order(self):
        """top_p takes its mass of what top_k left: 2/3 of (1/2, 1/4) is 1/2, of all is not."""
        row = np.log([0.5, 0.25, 0.125, 0.125])
        assert self.supports(row, top_k=2, top_p=0.66) == [0]
        assert self.supports(row, top_p=0.66) == [0, 1]
        assert self.supports(row, top_p=0.9, min_p=0.3) == [0, 1]

    def test_min_p_is_inclusive(self):
        assert self.supports(np.log([0.125, 0.5, 0.125, 0.25]), min_p=0.5) == [1, 3]

    def test_what_cannot_be_drawn_is_not(self):
        row = np.full(260, -np.inf)
        row[[3, 130, 257]] = [0.0, 0.5, 0.2]
        assert self.supports(row) == [3, 130, 257]
        assert self.supports(row, top_k=200, top_p=0.999) == [3, 130, 257]
        assert self.supports([-np.inf, 0.0]) == [1]

    def test_the_least_and_the_greatest_uniform_draw_the_ends(self):
        row = jnp.full(400, -jnp.inf).at[130:260].set(0.0)
        uniforms = jnp.array([[0.0, 0.0], [1 - 2**-24, 1 - 2**-24]])
        backend = importlib.import_module(f"kernels.sampling.{self.backend}")
        with self.inside():
            drawn = backend.draw(Arrays(jnp.stack([row, row]), uniforms), Settings())
        np.testing.assert_array_equal(drawn.tokens_B, [130, 259])
        np.testing.assert_allclose(drawn.log_probs_B, -np.log(130), rtol=1e-6)

    def test_bad_rows_draw_minus_one(self):
        good = logits(size=9)
        nan, low, high = (
            good.at[1, 4].set(jnp.nan),
            jnp.full(9, -jnp.inf),
            good[2].at[0].set(jnp.inf),
        )
        given = nan.at[3].set(low).at[2].set(high)
        of_all = dict(top_k=3, top_p=0.9, min_p=0.1)
        for settings in ({}, of_all, dict(top_p=0.5), dict(top_k=9), dict(min_p=0.0)):
            tokens, log_probs = self.sample(given, RNG, **settings)
            alone = self.sample(good, RNG, **settings)
            np.testing.assert_array_equal(tokens[1:4], -1)
            assert np.isnan(np.asarray(log_probs[1:4])).all()
            np.testing.assert_array_equal(tokens[::4], alone.tokens_B[::4])
            np.testing.assert_array_equal(log_probs[::4], alone.log_probs_B[::4])

    def test_logits_of_any_size(self):
        """Neither 1e30 nor a gap of 1e6 overflows, and a shift changes nothing."""
        given = jnp.array([[1e30, 0.0, -1e30], [1e6, 0.0, 0.0], [3.0, 2.0, 1.0]])
        tokens, log_probs = self.sample(given, RNG, temperature=0.5, top_p=0.99)
        np.testing.assert_array_equal(tokens[:2], 0)
        np.testing.assert_array_equal(log_probs[:2], 0)
        shifted = self.sample(logits() + 64, RNG, top_k=9)
        self.agree(logits() + 64, top_k=9)
        assert np.isfinite(np.asarray(shifted.log_probs_B)).all()

    @pytest.mark.parametrize(
        "settings",
        [{}, dict(temperature=0.7, top_k=9, top_p=0.9, min_p=0.05)],
        ids=["plain", "all"],
    )
    def test_chi_square(self, settings):
        """Rows alike, against the filtered distribution in float64."""
        row = np.asarray(logits(1, 12))[0]
        exact = filtered(row, **settings)
        alike = jnp.broadcast_to(row, (self.draws, len(row)))
        tokens, log_probs = self.sample(alike, RNG, **settings)
        tokens = np.asarray(tokens)
        np.testing.assert_allclose(log_probs, np.log(exact[tokens]), atol=1e-5)
        check_frequencies(tokens, exact)


def check_frequencies(tokens, exact):
    """Pearson's chi-square; tokens that are expected fewer than 5 times are counted as one.

    Draws are the same every run, and right ones fail once in a million keys.
    """
    counts = np.bincount(tokens, minlength=len(exact))
    expected = len(tokens) * exact
    assert np.all(counts[expected == 0] == 0)
    rare = expected < 5
    counts, expected = (np.append(x[~rare], x[rare].sum()) for x in (counts, expected))
    statistic = np.sum((counts - expected)[expected > 0] ** 2 / expected[expected > 0])
    p = scipy.stats.chi2.sf(statistic, max(1, np.sum(expected > 0) - 1))
    assert p > 1e-6, f"chi-square p = {p:.1e}"


def filtered(row, *, temperature=1.0, top_k=None, top_p=None, min_p=None):
    """The distribution of one row, float64, by the definition: sorted, cut, normalised again."""
    logit = row.astype(np.float64) / temperature
    prob = np.exp(logit - logit.max())
    prob /= prob.sum()
    order = np.argsort(-prob, kind="stable")
    if top_k is not None:
        prob[order[top_k:]] = 0
        prob /= prob.sum()
    if top_p is not None:
        mass = np.cumsum(prob[order])
        prob[order[np.searchsorted(mass, top_p) + 1 :]] = 0
        prob /= prob.sum()
    if min_p is not None:
        prob[prob < min_p * prob.max()] = 0
        prob /= prob.sum()
    return prob
