"""An attention that isn't exact fails the claim, and so does one that keeps the whole matrix."""

import pytest

from kernels.attention import xla
from papers.flash_attention import claims as flash
from tests.papers.verdicts import verdict


def without_rescaling(part, plan, settings, carry, i, j, masked):
    """A block's sums are added to the others' as they are, whatever their maximum was."""
    _, total, sums = carry
    new, more, values = original(part, plan, settings, start_of(carry), i, j, masked)
    return new, total + more, sums + values


def start_of(carry):
    return carry[0] - float("inf"), 0 * carry[1], 0 * carry[2]


original = xla.softmax_step


@pytest.fixture
def few_heads(monkeypatch):
    """A quarter of the claim's: the truth is computed in float64."""
    monkeypatch.setattr(flash, "HEADS", 2)


def test_exact(few_heads):
    assert verdict("flash_attention.exact") == "REPRODUCED"


@pytest.fixture
def traced_anew():
    """The broken step is neither hidden by a kept program nor kept."""
    xla.forward_by.clear_cache()
    yield
    xla.forward_by.clear_cache()


def test_sums_that_are_not_rescaled(monkeypatch, traced_anew, few_heads):
    monkeypatch.setattr(xla, "softmax_step", without_rescaling)
    assert verdict("flash_attention.exact") == "FAILED"


def test_a_window_is_not_exact(monkeypatch, few_heads):
    def wrong(q, k, v, *, causal):
        return flash.attention(q, k, v, causal=causal, window=512, implementation="xla")

    monkeypatch.setattr(flash, "ours", wrong)
    assert verdict("flash_attention.exact") == "FAILED"


def test_memory():
    assert verdict("flash_attention.memory") == "DIRECTION HOLDS"


def test_the_whole_matrix(monkeypatch):
    def wrong(q, k, v, *, causal):
        return flash.attention(q, k, v, causal=causal, implementation="reference")

    monkeypatch.setattr(flash, "ours", wrong)
    assert verdict("flash_attention.memory") == "FAILED"
