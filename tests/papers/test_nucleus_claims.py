"""Nucleus sampling's claims: what a repetition is, what people's continuations are, what fails."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from papers import ledger, trained
from papers.nucleus_sampling import claims as paper
from research.experiment import build

ALL = {claim.id.split(".")[1]: claim for claim in paper.CLAIMS}


@pytest.mark.parametrize(
    ("text", "repeats"),
    [
        ("the end the end of it of it of it ", True),
        ("of it of it of it and", False),  # not at the end
        ("it begins of it of it", False),  # twice
        ("aaa", False),  # a phrase has two tokens
        ("aaaaaa", True),
        ("abcabcabc", True),
    ],
)
def test_a_phrase_three_times_over_at_the_end(text, repeats):
    assert paper.repeats(np.frombuffer(text.encode(), np.uint8)) == repeats


@pytest.fixture(scope="module")
def small():
    experiment = build(trained.config(f"{paper.CONFIG}_debug", overrides={"data.length": 48}))
    return experiment, experiment.method.init(jax.random.key(0), experiment.example())


def test_people_go_on_from_the_prompt_and_cost_what_the_model_says(small, monkeypatch):
    for name, value in {"COUNT": 3, "PROMPT": 8, "NEW": 16}.items():
        monkeypatch.setattr(paper, name, value)
    experiment, state = small
    prompts, human, nats = paper.people(experiment, state, 0)
    assert np.shape(prompts) == (3, 8) and human.shape == (3, 16)
    rows = experiment.test_data.arrays()["tokens"][:, :24].tolist()
    assert all([*p, *h] in rows for p, h in zip(prompts, human.tolist(), strict=True))
    tokens = np.concatenate([prompts, human], axis=1).astype(np.int32)
    segments, positions = np.ones_like(tokens), np.tile(np.arange(24, dtype=np.int32), (3, 1))
    batch = {"tokens": tokens, "segments": segments, "positions": positions}
    batch = jax.tree.map(jnp.asarray, batch)
    logits = experiment.method.logits(state.params["model"], batch)[:, 7:]
    expected = -jax.nn.log_softmax(logits)[np.arange(3)[:, None], np.arange(16), human]
    assert nats == pytest.approx(float(expected.mean()), rel=1e-5)


def test_a_strategy_is_measured_beside_people(small, monkeypatch):
    two = {name: paper.STRATEGIES[name] for name in ("greedy", "pure")}
    for name, value in {"COUNT": 2, "PROMPT": 8, "NEW": 16, "STRATEGIES": two}.items():
        monkeypatch.setattr(paper, name, value)
    monkeypatch.setattr(paper, "model", lambda: small)
    measured = paper.measure.__wrapped__(0)
    gap = abs(np.log(measured["perplexity_pure"] / measured["perplexity_human"]))
    assert measured["gap_pure"] == pytest.approx(gap)
    assert 0 <= measured["repetition_greedy"] <= 100
    # Fresh weights are all but uniform: drawn, a text is as likely as people's; greedy is likelier.
    assert measured["perplexity_greedy"] < measured["perplexity_pure"]


def judged(claim: str, figures: dict[str, tuple[float, float]]) -> str:
    """The verdict on five seeds near such perplexities and repetitions."""
    human = figures["human"][0]
    seeds = []
    for factor in (0.99, 0.995, 1, 1.005, 1.01):
        values = {}
        for name, (perplexity, repetition) in figures.items():
            values[f"perplexity_{name}"] = perplexity * factor
            values[f"repetition_{name}"] = repetition * factor
            values[f"gap_{name}"] = factor * abs(np.log(perplexity / human))
        seeds.append(values)
    return ledger.judge(ALL[claim], seeds).name


def test_the_papers_table_holds():
    assert {judged(claim, paper.FIGURES) for claim in ALL} == {"DIRECTION HOLDS"}


@pytest.mark.parametrize(
    ("claim", "changed"),
    [
        ("likelihood", {"greedy": (12.4, 73)}),
        ("likelihood", {"beam_16": (7, 28)}),
        ("likelihood", {"pure": (12.0, 0.2)}),
        ("likelihood", {"top_k_40": (12.4, 0.2)}),
        ("nearest", {"pure": (12.5, 0.2)}),
        ("nearest", {"nucleus_95": (6.8, 0.2)}),
        ("repetition", {"greedy": (1.5, 0.3)}),
        ("repetition", {"nucleus_95": (13, 40)}),
        ("repetition", {"pure": (22, 8)}),
    ],
)
def test_another_table_fails(claim, changed):
    assert judged(claim, paper.FIGURES | changed) == "FAILED"
