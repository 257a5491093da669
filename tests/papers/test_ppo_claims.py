"""Wrong surrogates, advantages and returns fail PPO's claims."""

import jax.numpy as jnp
import pytest

from papers import ledger
from papers.ppo import claims as ppo
from tests.papers.verdicts import ALL, verdict


def test_advantages_without_lambda(monkeypatch):
    assert verdict("ppo.advantages") == "REPRODUCED"
    original = ppo.generalized_advantages
    wrong = lambda *arrays, decay, **options: original(*arrays, decay=1.0, **options)  # noqa: E731
    monkeypatch.setattr(ppo, "generalized_advantages", wrong)
    assert verdict("ppo.advantages") == "FAILED"


def clipped_outright(ratio, advantage, *, clip):
    """No minimum with the unclipped one: no lower bound."""
    return ratio * advantage if clip is None else jnp.clip(ratio, 1 - clip, 1 + clip) * advantage


def not_clipped(ratio, advantage, *, clip):
    return ratio * advantage


@pytest.mark.parametrize("wrong", [clipped_outright, not_clipped])
def test_a_wrong_surrogate(monkeypatch, wrong):
    assert verdict("ppo.lower_bound") == "REPRODUCED"
    monkeypatch.setattr(ppo, "surrogate", wrong)
    assert verdict("ppo.lower_bound") == "FAILED"


@pytest.mark.parametrize(
    ("claim_id", "best", "short", "random"),
    [("ppo.cartpole", 500.0, 470.0, 22.0), ("ppo.catch", 1.0, 0.9, -0.6)],
)
def test_a_return_short_of_the_figure(claim_id, best, short, random):
    def judged(value):
        seeds = range(10)
        spread = 1e-3 * abs(best)
        measured = [{"return": value - spread * (s % 2), "random_return": random} for s in seeds]
        return ledger.judge(ALL[claim_id], measured).name

    perfect = [{"return": best, "random_return": random}] * 10
    assert ledger.judge(ALL[claim_id], perfect).name == "REPRODUCED"
    assert judged(short) == judged(random) == "FAILED"
    fallen = [*perfect[1:], {"return": best / 2, "random_return": random}]
    assert ledger.judge(ALL[claim_id], fallen).name == "FAILED"
