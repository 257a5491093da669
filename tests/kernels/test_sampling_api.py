"""sample's reference is the definition; parts, the Gumbel way, bad rows in debug, bad arguments."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import checkify

from kernels.sampling import (
    categorical,
    log_probs,
    min_p_filter,
    sample,
    top_k_filter,
    top_p_filter,
)
from kernels.sampling.filters import leading
from kernels.sampling.peers_cpu import PEERS
from kernels.sampling.shapes import CASES
from tests.kernels.sampling_suite import RNG, SamplingSuite, check_frequencies, filtered, logits

GPT2 = 50257


class TestReference(SamplingSuite):
    """The truth passes its own suite: what isn't a comparison with it can fail."""


class TestXla(SamplingSuite):
    backend = "xla"
    sizes = (1, 2, 127, 128, 129, 1000, GPT2)
    draws = 1_000_000


@pytest.mark.parametrize("name", ["top_k", "top_p", "min_p"])
def test_a_filter_keeps_what_the_definition_keeps(name):
    filter_, values = {
        "top_k": (top_k_filter, (1, 5, 99, 100)),
        "top_p": (top_p_filter, (1e-6, 0.3, 0.9, 1.0)),
        "min_p": (min_p_filter, (0.0, 0.02, 1.0)),
    }[name]
    given = logits(size=100)
    for value in values:
        left = np.asarray(filter_(given, value))
        exact = np.stack([filtered(row, **{name: value}) for row in np.asarray(given)])
        np.testing.assert_array_equal(left, np.where(exact > 0, given, -np.inf))


def test_top_p_of_a_long_row_is_the_smallest_set():
    """In float64 the kept mass is p or more, and without its least token less, to rounding."""
    for scale in (1.0, 4.0):
        given = scale * np.asarray(jax.random.normal(RNG, (4, GPT2)))
        kept = np.isfinite(np.asarray(top_p_filter(given, 0.9)))
        prob = np.exp(given.astype(np.float64))
        prob /= prob.sum(axis=1, keepdims=True)
        mass = np.sum(prob * kept, axis=1)
        least = np.min(np.where(kept, prob, 2), axis=1)
        assert np.all(mass >= 0.9 - 1e-6) and np.all(mass - least < 0.9 + 1e-6)
        assert np.all(np.max(np.where(kept, 0, prob), axis=1) <= least)


def test_the_leading_of_sixteenths_are_exact():
    """Weights that add without rounding, many of them equal, against a plain loop."""
    weight = np.random.default_rng(0).integers(0, 17, (40, 30)) / 16
    weight[:, 7] = 1.0
    for share in (0.1, 0.5, 0.9):
        goal = np.round(share * weight.sum(axis=1, keepdims=True) * 16) / 16
        kept = np.asarray(leading(jnp.float32(weight), jnp.float32(goal)))
        for row, target, ours in zip(weight, goal[:, 0], kept, strict=True):
            order = np.argsort(-row, kind="stable")
            count = int(np.searchsorted(np.cumsum(row[order]), target)) + 1
            assert sorted(order[:count]) == np.flatnonzero(ours).tolist()


def test_log_probs_are_those_of_softmax():
    given, tokens = logits(), jnp.array([0, 4, 299, 17, -1])
    exact = jax.nn.log_softmax(given)[jnp.arange(4), tokens[:4]]
    ours = log_probs(given, tokens)
    np.testing.assert_allclose(ours[:4], exact, atol=1e-6)
    assert np.isnan(ours[4])


def test_drawn_log_probs_are_those_of_the_filtered_logits():
    given = logits()
    drawn = sample(given, RNG, top_k=50, top_p=0.9, min_p=0.02)
    left = min_p_filter(top_p_filter(top_k_filter(given, 50), 0.9), 0.02)
    np.testing.assert_allclose(drawn.log_probs_B, log_probs(left, drawn.tokens_B), atol=1e-6)


@pytest.mark.parametrize("method", ["inverse_cdf", "gumbel"])
@pytest.mark.parametrize("size", [1, 9, 300])
def test_categorical_is_exact(method, size):
    draws = 1_000_000 if size < 100 else 100_000
    row = np.asarray(logits(1, size))[0]
    tokens = np.asarray(categorical(jnp.broadcast_to(row, (draws, size)), RNG, method=method))
    check_frequencies(tokens, filtered(row))


def test_the_gumbel_way_draws_a_row_alike_in_any_batch():
    given = logits().at[1].set(-jnp.inf).at[2, 5].set(jnp.nan)
    whole = categorical(given, RNG, method="gumbel")
    np.testing.assert_array_equal(whole[1:3], -1)
    np.testing.assert_array_equal(categorical(given[:1], RNG, method="gumbel"), whole[:1])


def test_unlikely_blocks_are_drawn_in_proportion():
    """A block of mass 2^-10 with tokens of mass 2^-30 and less beside it: its tokens are even."""
    row = np.full(2048, -40.0)
    row[:128], row[1920:] = 0.0, -10 * np.log(2)
    tokens = np.asarray(categorical(jnp.broadcast_to(jnp.float32(row), (40_000, 2048)), RNG))
    tail = tokens[tokens >= 128]
    assert np.all(tail >= 1920) and abs(len(tail) - 40_000 / 1025) < 30
    assert len(set(tail.tolist())) > len(tail) / 2


def test_a_draw_has_no_gradient():
    given = logits(size=9)
    gradient = jax.grad(lambda x: sample(x, RNG, top_k=3).log_probs_B.sum())(given)
    assert not np.any(np.asarray(gradient))


def test_bad_rows_are_an_error_in_debug():
    given = logits(size=9).at[1, 4].set(jnp.nan)
    with jax.debug_nans(True):
        sample(logits(size=9), RNG, top_k=3, top_p=0.9)
        for bad in (given, given.at[1].set(-jnp.inf)):
            with pytest.raises(FloatingPointError):
                jax.jit(lambda x: sample(x, RNG, top_k=3, top_p=0.9))(bad)
    checked = checkify.checkify(lambda x: sample(x, RNG), errors=checkify.nan_checks)
    assert checked(given)[0].get() is not None
    assert checked(logits(size=9))[0].get() is None


def test_raw_keys_draw_as_typed_ones():
    ours = sample(logits(), jax.random.key_data(RNG))
    np.testing.assert_array_equal(ours.tokens_B, sample(logits(), RNG).tokens_B)


@pytest.mark.parametrize("settings", [{}, dict(top_k=3), dict(top_p=0.8), dict(min_p=0.1)])
def test_the_peer_draws_from_the_same_distribution(settings):
    row = np.asarray(logits(1, 12))[0]
    alike = jnp.broadcast_to(row, (20_000, 12))
    theirs = PEERS["sort_and_categorical"](alike, RNG, **settings)
    share = np.bincount(theirs, minlength=12) / 20_000
    np.testing.assert_allclose(share, filtered(row, **settings), atol=0.015)


def test_cases_can_be_called():
    case = CASES["bytes_1024"]
    assert case.call("auto")(*case.draw()).tokens_B.shape == (1024,)


GOOD = dict(logits=jnp.zeros((2, 8)), rng=RNG)
BAD = {
    "logits must have shape (B, V), neither 0, got (8,)": dict(logits=jnp.zeros(8)),
    "logits must have shape (B, V), neither 0, got (2, 0)": dict(logits=jnp.zeros((2, 0))),
    "logits must be of float32, bfloat16, float16, got int32": dict(logits=jnp.zeros((2, 8), int)),
    "temperature must be 0, or from 1e-30 to 1e30, got -1": dict(temperature=-1),
    "temperature must be 0, or from 1e-30 to 1e30, got 1e+60": dict(temperature=1e60),
    "temperature must be 0, or from 1e-30 to 1e30, got inf": dict(temperature=float("inf")),
    "top_k must be an integer from 1 to V = 8, got 0": dict(top_k=0),
    "top_k must be an integer from 1 to V = 8, got 9": dict(top_k=9),
    "top_k must be an integer from 1 to V = 8, got 2.0": dict(top_k=2.0),
    "top_p must be above 0, 1e-30 at least, and at most 1, got 0": dict(top_p=0),
    "top_p must be above 0, 1e-30 at least, and at most 1, got 1e-50": dict(top_p=1e-50),
    "top_p must be above 0, 1e-30 at least, and at most 1, got nan": dict(top_p=float("nan")),
    "min_p must be from 0 to 1, got 1.5": dict(min_p=1.5),
    "implementation 'torch' is unknown; allowed: auto, reference": dict(implementation="torch"),
    "triton: needs a GPU, this is cpu": dict(implementation=("triton", "mosaic_tpu")),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments_are_named(message):
    given = GOOD | BAD[message]
    with pytest.raises(ValueError, match=re.escape(message)):
        sample(given.pop("logits"), given.pop("rng"), **given)


def test_bad_arguments_of_parts_are_named():
    with pytest.raises(ValueError, match="method must be one of inverse_cdf, gumbel, got 'alias'"):
        categorical(GOOD["logits"], RNG, method="alias")
    for part, value, name in (
        (top_k_filter, 9, "top_k"),
        (top_p_filter, 0, "top_p"),
        (min_p_filter, -1, "min_p"),
    ):
        with pytest.raises(ValueError, match=name):
            part(GOOD["logits"], value)
