"""Texts written token by token: every setting is passed on, and half a character is held back."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.methods.language_model import LanguageModel
from research.methods.sequence_to_sequence import SequenceToSequence
from research.methods.writing import SETTINGS, shown
from research.training.state import TrainState
from tests.methods import test_language_model, test_sequence_to_sequence

RNG = jax.random.key(0)
VALUES = dict(
    temperature=0.5,
    top_k=3,
    top_p=0.9,
    min_p=0.1,
    repetition_penalty=1.2,
    beams=2,
    length_penalty=0.6,
    alpha=0.4,
    regex="a+",
    negative_prompt="be",
    guidance=2.0,
)


@pytest.mark.parametrize("kind", [LanguageModel, SequenceToSequence])
def test_settings_are_all_that_a_strategy_may_take(kind):
    """The other arguments say what is written after, how much of it and by which strategy."""
    taken = set(inspect.signature(kind.sample).parameters)
    others = {"self", "state", "rng", "count", "batch", "prompt", "new_tokens", "strategy"}
    assert taken - others == set(SETTINGS) == set(VALUES)


@pytest.mark.parametrize("module", [test_language_model, test_sequence_to_sequence])
def test_every_setting_is_passed_on(module, monkeypatch):
    made, seen = module.method(), []

    def written(state, rng, prompts, *, new_tokens, block, strategy, **settings):
        seen.append(settings)
        return iter([[[]]])

    monkeypatch.setattr(made, "written", written)
    state = TrainState(0, {}, {}, {})
    made.sample(state, RNG, count=1, prompt="b", **VALUES)
    list(made.stream(state, RNG, prompt="b", **VALUES))
    assert seen == [VALUES, VALUES]


def test_the_likeliest_token_alone_is_greedy():
    made = test_language_model.method()
    state = made.init(RNG, {"tokens": jnp.zeros((1, 17), jnp.int32)})

    def texts(**settings):
        return made.sample(state, RNG, count=2, prompt="to be", new_tokens=8, **settings)["texts"]

    greedy = texts(strategy="greedy")
    np.testing.assert_array_equal(texts(strategy="top_k", top_k=1), greedy)
    assert (texts(strategy="top_k", top_k=9) != greedy).any()


def test_half_a_character_is_held_back():
    """Of bytes as tokens: of three bytes the first two show nothing, unless no third one comes."""
    parts = [[list(b"a")], [list("€".encode()[:2])], [list("€".encode()[2:])], [list(b"b")]]
    text = lambda tokens: bytes(tokens).decode(errors="replace")  # noqa: E731
    assert list(shown(parts, text)) == ["a", "", "€", "b"]
    assert list(shown(parts[:2], text)) == ["a", "", "\ufffd"]
    assert list(shown([], text)) == []
