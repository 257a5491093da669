"""A speculative decoder that is not exact fails its claims."""

import jax.numpy as jnp
import pytest

from papers import ledger
from papers.speculative_decoding import claims as paper
from research.sampling.decoding import speculative
from tests.papers.verdicts import ALL, verdict


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Fewer texts and one gamma; programs with a broken part are neither used nor kept."""
    monkeypatch.setattr(paper, "ROWS", 20_000)
    monkeypatch.setattr(paper, "DRAFTS", (3,))
    speculative.advance.clear_cache()
    yield
    speculative.advance.clear_cache()


def test_the_claims_hold():
    assert verdict("speculative_decoding.expected_tokens") == "REPRODUCED"
    assert verdict("speculative_decoding.same_distribution") == "REPRODUCED"
    assert ledger.judge(ALL["speculative_decoding.t5"], []).name == "NOT RUN"


right = speculative.count_accepted


def third_accepted(p, q, proposed, drafted, rng):
    count = right(p, q, proposed, drafted, rng)
    return jnp.where(count == 2, drafted, count)


WRONG = {
    "a residual of p alone": ("residual", lambda p, q: p),
    "a residual that is not clipped": ("residual", lambda p, q: jnp.abs(p - q)),
    "all accepted": ("count_accepted", lambda p, q, proposed, drafted, rng: drafted),
    "the third proposal accepted after two": ("count_accepted", third_accepted),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_rule(monkeypatch, name):
    monkeypatch.setattr(speculative, *WRONG[name])
    assert verdict("speculative_decoding.same_distribution") == "FAILED"


def test_acceptance_of_every_second_token(monkeypatch):
    monkeypatch.setattr(speculative, "count_accepted", lambda *given: (right(*given) + 1) // 2)
    assert verdict("speculative_decoding.expected_tokens") == "FAILED"
