"""Decode attention on a TPU in Pallas's interpreters, in blocks that each length has several of."""

import jax
import jax.numpy as jnp
import pytest

from kernels.attention.decode import paged_decode_attention
from kernels.attention.decode.api import Settings
from kernels.attention.decode.mosaic_tpu import needed
from kernels.blocks import tried
from kernels.machine import interpreted
from tests.kernels.attention_suite import close
from tests.kernels.decode_suite import DecodeSuite, cache, in_pages

SMALL = {
    **{f"dense d{size}": {"rows": 64, "fetches": 2} for size in (64, 128, 256)},
    **{f"paged d{size}": {"fetches": 2} for size in (64, 128, 256)},
}


class InSmallBlocks(DecodeSuite):
    backend = "mosaic_tpu"

    def run(self, op, *given, **settings):
        run = super().run
        with tried(SMALL), interpreted(self.interpreter):  # it runs after its trace has ended
            return jax.jit(lambda *given: run(op, *given, **settings))(*given)


class TestMosaicTpu(InSmallBlocks):
    interpreter = "plain"


@pytest.mark.parametrize("settings", [{}, dict(window=40)])
def test_no_race_and_nothing_out_of_bounds(settings):
    """By the interpreter that raises on both."""
    suite = InSmallBlocks()
    suite.interpreter = "races"
    suite.agree(*cache(batch=2, length=100), [100, 33], **settings)


def test_entries_beyond_a_length_may_be_any_integer():
    suite = TestMosaicTpu()
    q, k, v = cache(batch=2, length=96)
    lengths = jnp.array([0, 40])
    *pages, table = in_pages(k, v, 16)
    beyond = jnp.arange(6)[None, :] >= jnp.array([[0], [3]])
    spoilt = jnp.where(beyond, jnp.array([[10**6], [-7]]), table)
    ours = suite.run(paged_decode_attention, q, *pages, lengths, table)
    suite.interpreter = "races"  # the plain one takes an index into bounds
    again = suite.run(paged_decode_attention, q, *pages, lengths, spoilt)
    close(again, ours, 1e-6, "out")


def test_pages_that_fill_no_registers_are_refused():
    q, k, v = cache(batch=1, length=24)
    *pages, table = in_pages(k, v, 24)
    with pytest.raises(ValueError, match="takes pages of a multiple of 16 positions, got 24"):
        TestMosaicTpu().run(paged_decode_attention, q, *pages, jnp.array([24]), table)


def test_only_what_is_needed_is_asked_for():
    """Blocks of 16 positions: a length of 40 needs three, a window of 10 one or two of them."""
    whole, windowed = Settings(1.0, None, None), Settings(1.0, None, 10)
    assert [needed(jnp.int32(n), 16, whole) for n in (0, 1, 16, 17, 40)] == [
        (0, last) for last in (0, 0, 0, 1, 2)
    ]
    assert [needed(jnp.int32(n), 16, windowed) for n in (5, 27, 40)] == [(0, 0), (1, 1), (1, 2)]
