"""attention's xla backend, with the blocks it takes by itself and with small ones."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels.attention import attention, xla, xla_plan
from kernels.attention.api import Arrays, Settings
from kernels.attention.peers_cpu import PEERS
from kernels.blocks import tried
from tests.kernels.attention_suite import AttentionSuite, arrays, close, packed_segments, reference

DIRECTIONS = ("forward", "backward", "bias")


def blocks(queries, keys, logits):
    sizes = {"queries": queries, "keys": keys, "logits": logits}
    return tried({f"{way} d{size}": sizes for way in DIRECTIONS for size in (8, 64, 128, 256)})


class TestXla(AttentionSuite):
    """Lengths of the suite are one block."""

    backend = "xla"


class TestSmallBlocks(AttentionSuite):
    """Many blocks, ragged ones among them, and one head of one sequence at a time."""

    backend = "xla"

    def inside(self):
        return blocks(32, 48, 32 * 48)


def ours(*given, **settings):
    return attention(*given, **settings, implementation="xla")


def value_and_gradients(call, *given):
    out, pull = jax.vjp(call, *given)
    return out, *pull(out)


def test_finite_differences_in_float64():
    """Everything at once, along one direction of q, k, v and bias."""
    settings = Settings(scale=0.3, softcap=3.0, left=25, right=0)
    with jax.enable_x64(True), blocks(16, 16, 512):
        rngs = jax.random.split(jax.random.key(0), 9)
        shapes = [(2, 40, 4, 8), (2, 40, 2, 8), (2, 40, 2, 8), (1, 4, 40, 40)]
        given, along = (
            [jax.random.normal(rng, s, jnp.float64) for rng, s in zip(some, shapes, strict=True)]
            for some in (rngs[:4], rngs[4:8])
        )
        dout = jax.random.normal(rngs[8], shapes[0], jnp.float64)
        ids = packed_segments(length=40).astype(jnp.int32)

        def value(step):
            moved = (x + step * d for x, d in zip(given, along, strict=True))
            out, lse = xla.forward(Arrays(*moved, ids, ids), settings)
            return jnp.sum(out * dout), out, lse

        _, out, lse = value(0.0)
        gradients = xla.backward(Arrays(*given, ids, ids), settings, out, lse, dout)
        slope = sum(jnp.sum(g * d) for g, d in zip(gradients, along, strict=True))
        difference = (value(1e-5)[0] - value(-1e-5)[0]) / 2e-5
    np.testing.assert_allclose(slope, difference, rtol=1e-7)


def temporary(call, length):
    like = jax.ShapeDtypeStruct((1, length, 2, 64), jnp.float32)
    lowered = jax.jit(functools.partial(value_and_gradients, call)).lower(like, like, like)
    return lowered.compile().memory_analysis().temp_size_in_bytes


def test_memory_grows_linearly():
    """Value and gradients at 1024, 2048 and 4096; JAX's own attention grows by the square."""
    ours_at = [temporary(functools.partial(ours, causal=True), n) for n in (1024, 2048, 4096)]
    plain = [temporary(functools.partial(reference, causal=True), n) for n in (1024, 2048, 4096)]
    assert ours_at[2] - ours_at[1] < 2.2 * (ours_at[1] - ours_at[0])
    assert plain[2] - plain[1] > 3.5 * (plain[1] - plain[0])
    assert plain[2] > 10 * ours_at[2]


@pytest.mark.parametrize(
    ("settings", "spoilt"),
    [(dict(causal=True), slice(96, 128)), (dict(window=(31, None)), slice(0, 32))],
    ids=["causal", "window"],
)
def test_blocks_that_the_band_rules_out_are_not_touched(settings, spoilt):
    """0 times NaN is NaN: queries 64 to 96 see the bits they saw only if the block isn't read."""
    q, k, v = arrays(batch=1, queries=128, keys=128)

    def some(k, v):
        def rows(q, k, v):
            return ours(q, k, v, **settings)[:, 64:96]

        out, dq, *_ = value_and_gradients(rows, q, k, v)
        return out, dq[:, 64:96]

    with blocks(32, 32, 1024):
        clean = some(k, v)
        nan = some(*(x.at[:, spoilt].set(jnp.nan) for x in (k, v)))
    for a, b in zip(clean, nan, strict=True):
        np.testing.assert_array_equal(a, b)


def test_pairs_are_the_bands():
    """Of 16 x 16 blocks of 32: all, the lower triangle, and a window's two diagonals."""

    def count(left, right):
        whole, edge = xla_plan.pairs(512, 512, 32, 32, Settings(1.0, None, left, right))
        return len(whole), len(edge)

    assert count(None, None) == (256, 0)
    assert count(None, 0) == (120, 16)
    assert count(32, 0) == (0, 16 + 15)
    assert count(63, 0) == (15, 16 + 14)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_parts_hold_the_logits_they_may(direction):
    """A UNet's 1024 small problems go by parts that divide them; long ones head by head."""
    small, long = arrays(batch=128, queries=196, keys=196, heads=8, size=8), arrays(keys=1000)
    settings = Settings(1.0, None, None, None)
    with blocks(256, 256, 2**19):
        plan = xla_plan.planned(direction, Arrays(*small, None, None, None), settings)
        assert (plan.queries, plan.keys) == (196, 196)
        assert (plan.batch, plan.heads, plan.parts) == (1, 8, 128)
        plan = xla_plan.planned(direction, Arrays(*long, None, None, None), settings)
        assert plan.keys * 4 - 1000 < 16 * 4


def test_many_small_problems():
    """Parts of several sequences, as in a UNet."""
    given = arrays(batch=12, queries=49, keys=49, heads=2, size=8)
    with blocks(256, 256, 49 * 49 * 2 * 4):
        mine = value_and_gradients(ours, *given)
    for a, b in zip(mine, value_and_gradients(reference, *given), strict=True):
        close(a, b, 2e-5, "small")


def test_the_bias_gradient_is_dropped_where_nobody_asks():
    """Of several blocks it is a loop of its own, and costs nothing if only q's is wanted."""
    q, k, v = arrays(batch=1, queries=128, keys=128)
    bias = jnp.zeros((1, 2, 128, 128))

    def flops(by):
        def gradients(*given):
            return jax.grad(lambda q, k, v, bias: jnp.sum(ours(q, k, v, bias=bias)), by)(*given)

        return jax.jit(gradients).lower(q, k, v, bias).compile().cost_analysis()["flops"]

    with blocks(32, 32, 2 * 32 * 32):
        assert flops((0, 1, 2)) < 0.85 * flops((0, 1, 2, 3))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("name", PEERS)
def test_peers_compute_the_same(name, causal):
    if name == "tokamax_xla_chunked":
        pytest.importorskip("tokamax")
    given = arrays()
    theirs = PEERS[name](*given, causal=causal)
    close(ours(*given, causal=causal), theirs, 2e-5, name)
