"""How likely a text is after a prompt: token by token, of long prompts and texts, by the byte."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from research.data import text_sets
from research.methods import text_likelihoods
from tests.methods.test_language_model import TEXT, TOKENIZER, method


@pytest.mark.parametrize("packed", [False, True])
def test_a_text_after_a_prompt_is_as_likely_as_its_tokens_one_by_one(packed):
    model = method(packed=packed, positions="rotary")
    state = model.init(jax.random.key(0), {"tokens": jnp.zeros((1, 17), jnp.int32)})
    pairs = [("to be", " or"), ("to be o", "r"), ("to be ", "or"), ("", "to be"), ("to be", " ")]
    whole, last, rest, alone, first = model.log_likelihoods(state, pairs)
    assert whole == pytest.approx(first + rest, rel=1e-5)
    assert rest > -20 and last < 0
    ids = [model.tokenizer.end, *TOKENIZER.encode("to be").tolist()]
    tokens = jnp.asarray([ids])
    fields = dict(positions=jnp.arange(6)[None], segments=jnp.ones((1, 6), jnp.int32))
    logits = model.logits(state.params["model"], dict(tokens=tokens, **fields))[0]
    picked = jax.nn.log_softmax(logits)[jnp.arange(5), jnp.asarray(ids[1:])]
    assert alone == pytest.approx(float(picked.sum()), rel=1e-5)


def test_likelihoods_are_compiled_once_for_all_weights(monkeypatch):
    model = method()
    state = model.init(jax.random.key(0), {"tokens": jnp.zeros((1, 17), jnp.int32)})
    before = model.log_likelihoods(state, [("to", "be")])
    monkeypatch.setattr(model, "per_token", None)
    other = dataclasses.replace(state, params=jax.tree.map(lambda x: 2 * x, state.params))
    assert model.log_likelihoods(state, [("to", "be")]) == before
    assert model.log_likelihoods(other, [("to", "be")]) != before


def test_of_a_long_prompt_the_context_sees_the_end():
    model = method()
    state = model.init(jax.random.key(0), {"tokens": jnp.zeros((1, 17), jnp.int32)})
    long = model.log_likelihoods(state, [(TEXT, "be")])
    assert long == model.log_likelihoods(state, [(TEXT[-15:], "be")])
    assert long != model.log_likelihoods(state, [(TEXT[-14:], "be")])


def test_a_text_of_more_than_the_context_is_read_in_stretches():
    """Of half the context, each after the half before it."""
    model = method()
    state = model.init(jax.random.key(0), {"tokens": jnp.zeros((1, 17), jnp.int32)})
    whole = model.log_likelihoods(state, [("to be ", TEXT[:20])])
    cuts = (0, 8), (8, 16), (16, 20)
    parts = [(f"to be {TEXT[:a]}"[-17 + b - a :], TEXT[a:b]) for a, b in cuts]
    assert whole == pytest.approx(model.log_likelihoods(state, parts).sum(), rel=1e-6)
    assert model.log_likelihoods(state, [("to", ""), ("to", "b")])[0] == 0
    assert len(model.log_likelihoods(state, [])) == 0


def test_bytes_are_counted_where_tokens_tell_all_of_the_text(tmp_path):
    """Else a text of words would have fewer bits a byte the fewer of them are known."""
    (tmp_path / "one.txt").write_text("the cat sat on a mat\n" * 40)
    characters, words = (
        text_sets.load(str(tmp_path / "one.txt"), "train", tokenizer=kind, length=8)
        for kind in ("char", "word")
    )
    assert characters.bytes_per_token > 0
    assert words.bytes_per_token is None
    assert list(text_likelihoods.ngrams(words, words)) == ["loss"]
