"""A speculative decoder that is not exact fails its claims."""

import jax.numpy as jnp
import pytest

from papers import ledger
from papers.speculative_decoding import claims as paper
from research.sampling.decoding import speculative

ALL = {claim.id.split(".")[1]: claim for claim in paper.CLAIMS}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Fewer texts and one gamma; programs with a broken part are neither used nor kept."""
    monkeypatch.setattr(paper, "ROWS", 20_000)
    monkeypatch.setattr(paper, "DRAFTS", (3,))
    speculative.advance.clear_cache()
    yield
    speculative.advance.clear_cache()


def verdict(name):
    """The verdict on a measurement of one seed."""
    measured = ALL[name].measure(0)
    return "FAILED" if any(not rule([measured]).holds for rule in ALL[name].rules) else "HOLDS"


def test_the_claims_hold():
    assert verdict("expected_tokens") == verdict("same_distribution") == "HOLDS"
    assert ledger.judge(ALL["t5"], []).name == "NOT RUN"


WRONG = {
    "a residual of p alone": ("residual", lambda p, q: p),
    "a residual that is not clipped": ("residual", lambda p, q: jnp.abs(p - q)),
    "all accepted": ("count_accepted", lambda p, q, proposed, drafted, rng: drafted),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_rule(monkeypatch, name):
    monkeypatch.setattr(speculative, *WRONG[name])
    assert verdict("same_distribution") == "FAILED"


def test_acceptance_of_every_second_token(monkeypatch):
    right = speculative.count_accepted
    monkeypatch.setattr(speculative, "count_accepted", lambda *given: (right(*given) + 1) // 2)
    assert verdict("expected_tokens") == "FAILED"
