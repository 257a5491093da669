"""Choices ranked by a language model: three ways, what the context cuts, and no likelihoods."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.data.choice_tasks import Question
from research.errors import InputError
from research.scores.choices import score_choices
from tests.methods.test_language_model import method


@pytest.fixture
def untrained():
    model = method()
    return model, model.init(jax.random.key(0), {"tokens": jnp.zeros((1, 17), jnp.int32)})


def test_choices_are_ranked_in_three_ways(monkeypatch, untrained):
    """b is the likeliest, c a byte, a by what it gains; without a prompt it would be b."""
    nats = {("p", "a"): -3.0, ("p", "b"): -2.0, ("p", "cccc"): -4.0}
    nats |= {("", "a"): -9.0, ("", "b"): -2.0, ("", "cccc"): -5.0}

    model, state = untrained
    monkeypatch.setattr(
        model, "log_likelihoods", lambda state, pairs: np.array([nats[pair] for pair in pairs])
    )
    monkeypatch.setattr(model, "sees_all", lambda prompt, text: True)
    chosen = []
    for answer in range(3):
        asked = [Question("p", ("a", "b", "cccc"), answer)]
        scores = score_choices(model, state, asked, "made_up")
        chosen.append([s.value for s in scores] + [scores[0].baselines["no_prompt"]])
    np.testing.assert_array_equal(np.array(chosen).T, np.eye(3)[[1, 2, 0, 1]])


def test_questions_that_the_context_cuts_are_counted(untrained):
    """16 tokens are read and one is told more; prompts and choices are 17, 18 and 19."""
    model, state = untrained
    asked = [Question("to be or not to be"[:size], (" b", " t"), 0) for size in (15, 16, 17)]
    shown = {s.metric.partition("[")[2] for s in score_choices(model, state, asked[:1], "text")}
    assert shown == {"text,n=1]"}
    shown = {s.metric.partition("[")[2] for s in score_choices(model, state, asked, "text")}
    assert shown == {"text,n=3,cut=2]"}


def test_a_model_without_likelihoods_ranks_nothing(monkeypatch, untrained):
    model, state = untrained
    monkeypatch.setattr(model, "log_likelihoods", lambda state, pairs: np.full(len(pairs), np.nan))
    with pytest.raises(InputError, match="likelihoods are not finite"):
        score_choices(model, state, [Question("p", ("a", "b"), 0)], "text")
