"""Decode attention's xla backend: the suite in one block and in many, and what it leaves unread."""

import jax
import jax.numpy as jnp
import pytest

from kernels.attention.decode import decode_attention, paged_decode_attention, xla
from kernels.attention.decode.api import Arrays, Settings
from kernels.blocks import tried
from tests.kernels.attention_suite import close
from tests.kernels.decode_suite import DecodeSuite, cache, in_pages


def small_blocks():
    return tried({f"d{size}": {"keys": 32} for size in (64, 128, 256)})


class TestXla(DecodeSuite):
    """Lengths of the suite are one block."""

    backend = "xla"


class TestSmallBlocks(DecodeSuite):
    """Blocks of 32 positions, the last one ragged, or of two pages."""

    backend = "xla"

    def run(self, op, *given, **settings):
        with small_blocks():
            return super().run(op, *given, **settings)


class TestBlocks(TestSmallBlocks):
    """Dense caches as well, whatever is seen of them."""

    @pytest.fixture(autouse=True)
    def in_blocks(self, monkeypatch):
        monkeypatch.setattr(xla, "forward_by", xla.by_blocks)


@pytest.mark.parametrize("settings", [{}, dict(window=250), dict(softcap=2.0)], ids=str)
@pytest.mark.parametrize("lengths", [[600, 1, 77], [600, 600, 10]], ids=["in blocks", "whole"])
def test_a_long_cache_by_what_is_seen_of_it(lengths, settings):
    q, k, v = cache(length=600, heads=2)
    given = q, k, v, jnp.array(lengths)
    out = decode_attention(*given, **settings, implementation="xla")
    truth = decode_attention(*given, **settings, implementation="reference")
    close(out, truth, 2e-5, "out")


@pytest.mark.parametrize("window", [None, 3])
def test_numbers_of_64_bits_elsewhere_change_nothing(window):
    q, k, v = cache(length=600, heads=2)
    pages, lengths = in_pages(k, v, 16), jnp.array([5, 0, 600])

    def both():
        settings = dict(window=window, implementation="xla")
        return decode_attention(q, k, v, lengths, **settings), paged_decode_attention(
            q, *pages[:2], lengths, pages[2], **settings
        )

    with small_blocks():
        expected = both()
        with jax.enable_x64(True):
            found = both()
    for ours, truth in zip(found, expected, strict=True):
        close(ours, truth, 1e-6, "out")


@pytest.mark.parametrize(
    ("length", "seen", "visits"), [(600, 600, 0), (600, 201, 0), (600, 199, 7), (512, 10, 0)]
)
def test_a_long_cache_is_read_in_blocks_where_little_is_seen(monkeypatch, length, seen, visits):
    found, step = [], xla.softmax_step

    def counted(*given):
        jax.debug.callback(lambda: found.append(1))
        return step(*given)

    monkeypatch.setattr(xla, "softmax_step", counted)
    q, k, v = cache(batch=1, length=length, heads=2)
    arrays = Arrays(q, k, v, jnp.array([seen]), None)
    xla.forward_by.__wrapped__(32, Settings(0.125, None, None), arrays).block_until_ready()
    jax.effects_barrier()
    assert len(found) == visits


def test_a_cache_of_bfloat16_is_not_taken_to_float32():
    q, k, v = cache(heads=2, length=512, dtype="bfloat16")
    call = jax.jit(lambda *x: decode_attention(*x, implementation="xla"))
    compiled = call.lower(q, k, v, jnp.array([512, 1, 7])).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < k.nbytes


@pytest.mark.parametrize("paged", [False, True])
def test_the_cache_is_not_copied(paged):
    """Temporary memory is a block's and the logits, whatever the cache holds."""

    def temporary(length):
        q, k, v = cache(length=length, heads=2, size=256)
        given = (q, k, v, jnp.array([length, 1, 7]))
        op = decode_attention
        if paged:
            k, v, table = in_pages(k, v, 16)
            op, given = paged_decode_attention, (q, k, v, given[3], table)
        call = jax.jit(lambda *x: op(*x, implementation="xla"))
        return call.lower(*given).compile().memory_analysis().temp_size_in_bytes, k.nbytes

    short, long = temporary(1024), temporary(4096)
    assert long[1] > 3 * short[1]
    assert long[0] - short[0] < long[1] / 20


@pytest.mark.parametrize(
    ("length", "window", "visits"), [(400, None, 13), (400, 40, 2), (0, None, 0)]
)
def test_only_blocks_in_reach_are_visited(monkeypatch, length, window, visits):
    """Blocks of 32 of 512 positions: those that hold a key that the query sees."""
    seen, step = [], xla.softmax_step

    def counted(*given):
        jax.debug.callback(lambda: seen.append(1))
        return step(*given)

    monkeypatch.setattr(xla, "softmax_step", counted)
    q, k, v = cache(batch=1, length=512)
    arrays = Arrays(q, k, v, jnp.array([length]), None)
    xla.by_blocks(32, Settings(0.125, None, window), arrays).block_until_ready()
    jax.effects_barrier()
    assert len(seen) == visits
