"""Attention on a TPU in Pallas's interpreters, in blocks so small that a long call has several."""

import contextlib
import functools
import itertools

import jax
import numpy as np
import pytest

from kernels.attention import attention
from kernels.attention.api import checked
from kernels.attention.mosaic_tpu_plan import Kind, plan
from kernels.blocks import noting, tried
from kernels.machine import interpreted
from tests.kernels.attention_suite import AttentionSuite, arrays, close

SMALL = {"q": 128, "k": 128, "tile": 128, "chunk": 128}
PHASES = ("forward", "forward band", "keys_gradient", "queries_gradient")
IN_SMALL_BLOCKS = {
    f"{phase} d{size}": SMALL for phase, size in itertools.product(PHASES, (64, 128, 256))
}
# Sizes, then arguments, of calls with three blocks each way; documents cross their edges.
LENGTH = 270
LONG = {
    "causal": ({}, dict(causal=True)),
    "window": ({}, dict(window=(140, 20))),
    "grouped": (dict(heads=2, key_heads=1), {}),
    "segments": ({}, dict(segment_ids=np.arange(LENGTH)[None] // 100)),
    "bias": ({}, dict(bias=np.sin(np.arange(LENGTH**2, dtype="float32")).reshape(LENGTH, LENGTH))),
}


class TestMosaicTpu(AttentionSuite):
    backend = "mosaic_tpu"
    interpreter = "plain"

    def run(self, *given, **settings):
        run = super().run
        return jax.jit(lambda *given: run(*given, **settings))(*given)

    def inside(self):
        return in_small_blocks(self.interpreter)

    @pytest.mark.parametrize("name", LONG)
    def test_sums_over_several_visits(self, name):
        """Of blocks of keys, and of queries in the gradient of keys and values."""
        sizes, settings = LONG[name]
        given = self.arrays(**(dict(batch=1, queries=LENGTH, keys=LENGTH, heads=1) | sizes))
        with noting(self.backend) as noted:
            self.agree(given, **settings)
        assert len(noted) == 3
        for phase, blocks in noted.items():
            shape = plan(*call(*given, **settings), blocks, by_keys=phase.startswith("keys"))
            assert any(flags & 2 == 0 for flags in shape.visits[3]), phase


@contextlib.contextmanager
def in_small_blocks(interpreter):
    with tried(IN_SMALL_BLOCKS), interpreted(interpreter):
        yield


@pytest.mark.parametrize("settings", [dict(causal=True), dict(window=(40, None))])
def test_no_race_and_nothing_out_of_bounds(settings):
    """By the interpreter that raises on both."""
    given = arrays(batch=1, queries=140, keys=200, heads=2, key_heads=1)

    def run(*given, implementation):
        return attention(*given, **settings, implementation=implementation)

    with in_small_blocks("races"):
        ours = jax.vjp(functools.partial(run, implementation="mosaic_tpu"), *given)
        ours = ours[0], *ours[1](ours[0])
    truth = jax.vjp(functools.partial(run, implementation="reference"), *given)
    for name, a, b in zip(
        ("out", "dq", "dk", "dv"), ours, (truth[0], *truth[1](ours[0])), strict=True
    ):
        close(a, b, 2e-5, name)


BLOCKS = {"q": 256, "k": 256, "tile": 128, "chunk": 128}


@pytest.mark.parametrize(
    ("settings", "visits"),
    [({}, 64), (dict(causal=True), 36), (dict(causal=True, window=512), 21), (dict(window=0), 8)],
)
def test_blocks_outside_the_band_are_not_visited(settings, visits):
    shape = plan(*checked_call(2048, 2048, **settings), BLOCKS)
    assert len(shape.visits[0]) == visits
    by_keys = plan(*checked_call(2048, 2048, **settings), BLOCKS, by_keys=True)
    assert len(by_keys.visits[0]) == visits


def test_blocks_inside_the_band_have_no_mask():
    shape = plan(*checked_call(2048, 2048, causal=True), BLOCKS)
    kinds = [shape.kinds[flags >> 2] for flags in shape.visits[3]]
    assert kinds.count(Kind(None, 256)) == 28 and kinds.count(Kind(0, 256)) == 8


def test_every_block_of_queries_is_written():
    shape = plan(*checked_call(1024, 256, window=0), BLOCKS)
    assert set(shape.visits[0]) == {0, 1, 2, 3}


def checked_call(queries, keys, **settings):
    q, kv = (jax.ShapeDtypeStruct((1, n, 1, 64), "float32") for n in (queries, keys))
    return call(q, kv, kv, **settings)


def call(q, k, v, *, causal=False, window=None, segment_ids=None, bias=None):
    return checked(q, k, v, causal, window, segment_ids, bias, None, None)


@pytest.mark.parametrize(
    ("size", "dtype", "reason"),
    [
        (64, "float16", "takes float32 and bfloat16, got float16"),
        (80, "float32", "takes head sizes 64, 128, 192 and 256, got 80"),
    ],
)
def test_what_it_does_not_take_is_named(size, dtype, reason):
    given = arrays(size=size, dtype=dtype)
    with interpreted("plain"), pytest.raises(ValueError, match=reason):
        attention(*given, implementation="mosaic_tpu")
