"""BERT's masked language model: what is hidden, what is told, and that it looks to both sides."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from research.data import tokenizers
from research.errors import InputError
from research.methods.masked_language_model import MaskedLanguageModel, masking
from research.networks.transformer import Transformer
from research.training.rng import named

TEXT = "to be or not to be, that is the question: whether 'tis nobler in the mind to suffer"
TOKENIZER = tokenizers.train("char", [TEXT])
SIZE, MASK = TOKENIZER.size, TOKENIZER.mask


def method(*, length=16, share=0.15, packed=False, **network):
    sizes = dict(vocabulary=SIZE, length=length, width=32, layers=2, heads=2, causal=False)
    return MaskedLanguageModel(
        network=Transformer(**(sizes | network)),
        optimizer=optax.adam(3e-3),
        tokenizer=TOKENIZER,
        length=length,
        packed=packed,
        share=share,
    )


def batch_of(tokens, real=None):
    segments = jnp.ones_like(tokens) if real is None else real.astype(jnp.int32)
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
    return {"tokens": tokens, "segments": segments, "positions": positions}


def test_what_is_chosen_and_what_becomes_of_it():
    """Of 20,000 rows 3 of 20 places each: 80% hidden, 10% another token's, 10% as they are."""
    tokens = jax.random.randint(jax.random.key(0), (20_000, 20), 10, 1000)
    given = dict(count=3, mask=3, vocabulary=1000)
    found = masking(tokens, tokens > 0, jax.random.key(1), **given)
    places = np.asarray(found.places_BxM)
    assert all(len(set(row)) == 3 for row in places[:500].tolist())
    np.testing.assert_allclose(np.bincount(places.ravel()) / len(tokens), 3 / 20, atol=0.012)
    rows = np.arange(len(tokens))[:, None]
    np.testing.assert_array_equal(found.targets_BxM, np.asarray(tokens)[rows, places])
    seen = np.asarray(found.seen_BxT)
    shown, targets = seen[rows, places], np.asarray(found.targets_BxM)
    assert np.mean(shown == 3) == pytest.approx(0.8, abs=0.01)
    assert np.mean(shown == targets) == pytest.approx(0.1, abs=0.01)
    others = shown[(shown != 3) & (shown != targets)]
    assert len(others) / shown.size == pytest.approx(0.1, abs=0.01)
    assert others.mean() == pytest.approx(500, abs=15)
    untouched = np.ones_like(seen, bool)
    untouched[rows, places] = False
    np.testing.assert_array_equal(seen[untouched], np.asarray(tokens)[untouched])


def test_padding_is_not_chosen():
    tokens = jnp.full((4, 12), 7)
    real = jnp.arange(12) < jnp.array([12, 5, 2, 0])[:, None]
    found = masking(tokens, real, jax.random.key(0), count=4, mask=3, vocabulary=9)
    np.testing.assert_array_equal(found.weight_BxM.sum(axis=1), [4, 4, 2, 0])
    np.testing.assert_array_equal(np.asarray(found.seen_BxT)[~np.asarray(real)], 7)
    chosen = np.take_along_axis(np.asarray(real), np.asarray(found.places_BxM), axis=1)
    np.testing.assert_array_equal(chosen, found.weight_BxM)


def test_a_hidden_token_is_told_by_what_is_seen_alone():
    """The loss of logits by hand, over the text with its tokens hidden."""
    model = method(share=0.3)
    tokens = jax.random.randint(jax.random.key(2), (3, 17), 4, SIZE)
    batch = batch_of(tokens, jnp.arange(17) < jnp.array([17, 9, 3])[:, None])
    state = model.init(jax.random.key(0), batch)
    rng = jax.random.key(5)
    nats, hits, weight = model.per_token(state.params["model"], batch, rng, train=False)
    given = {k: v[:, :16] for k, v in batch.items()}
    chosen = dict(count=5, mask=MASK, vocabulary=SIZE)
    masked = masking(given["tokens"], given["segments"] > 0, named(rng, "masking"), **chosen)
    apply = model.network.apply
    fields = masked.seen_BxT, given["positions"], given["segments"]
    hidden = apply({"params": state.params["model"]}, *fields)
    logits = apply({"params": state.params["model"]}, hidden, method="logits")
    picked = jax.nn.log_softmax(logits)[jnp.arange(3)[:, None], masked.places_BxM]
    expected = -jnp.take_along_axis(picked, masked.targets_BxM[..., None], axis=2)[..., 0]
    np.testing.assert_allclose(nats, expected * masked.weight_BxM, rtol=1e-5)
    np.testing.assert_array_equal(weight.sum(axis=1), [5, 5, 3])
    assert np.all(hits <= weight)
    metrics = model.evaluate(state, batch, rng)
    np.testing.assert_allclose(metrics["loss"], nats.sum(axis=1) / weight.sum(axis=1), rtol=1e-6)


@pytest.fixture(scope="module")
def learned():
    """A model that knows the text by heart."""
    model = method(length=24, positions="rotary", share=0.25)
    rows = np.lib.stride_tricks.sliding_window_view(TOKENIZER.document(TEXT), 25)
    batch = batch_of(jnp.asarray(rows))
    state = model.init(jax.random.key(0), batch)
    step = jax.jit(model.step)
    for i in range(500):
        state, metrics = step(state, batch, jax.random.key(i))
    assert metrics["model/loss"] < 0.5
    return model, state


def test_it_looks_to_both_sides(learned):
    """`to be` and `to suffer` differ behind the hidden letter, `not` and `tot` before it."""
    model, state = learned
    given = dict(count=1, batch=None)
    for prompt, told in {
        "not to <mask>e, that is": "not to [b]e, that is",
        "mind to <mask>uffe": "mind to [s]uffe",
        "or <mask>ot to": "or [n]ot to",
        "to b<mask> or n<mask>t to be": "to b[e] or n[o]t to be",
    }.items():
        assert model.sample(state, jax.random.key(0), prompt=prompt, **given)["texts"][0] == told
        assert "".join(model.stream(state, jax.random.key(0), prompt=prompt, batch=None)) == told


def test_filling_is_compiled_once_for_all_weights(learned, monkeypatch):
    model, state = learned
    given = dict(count=1, batch=None, prompt="not to <mask>e, that is")
    told = model.sample(state, jax.random.key(0), **given)["texts"][0]
    monkeypatch.setattr(model, "network", None)
    other = dataclasses.replace(state, params=jax.tree.map(lambda x: -x, state.params))
    assert model.sample(state, jax.random.key(0), **given)["texts"][0] == told
    assert model.sample(other, jax.random.key(0), **given)["texts"][0] != told


@pytest.mark.parametrize(
    ("kind", "prompt", "token", "told"),
    [
        ("word", "not to <mask> that is", "be", "not to[ be] that is"),
        ("word", "<mask> to", "be", "[be] to"),
        ("char", "not<mask>to be", " ", "not[ ]to be"),
        ("bpe", "not t<mask>", "é", "not t[\ufffd]"),
        ("bpe", "not <mask> be", " to", "not[ to] be"),
    ],
)
def test_what_is_told_stands_apart_from_the_words_around(kind, prompt, token, told):
    model = method()
    model.tokenizer = tokenizers.train(kind, [TEXT], 300 if kind == "bpe" else None)
    before = model.framed(prompt)
    (new, *_) = model.tokenizer.encode(token)
    assert model.shown(before, np.where(before == model.tokenizer.mask, new, before)) == told


def test_test_texts_are_hidden_and_told_again(learned):
    model, state = learned
    rows = np.lib.stride_tricks.sliding_window_view(TOKENIZER.document(TEXT), 25)[:3]
    found = model.sample(state, jax.random.key(0), count=3, batch=batch_of(rows))
    assert found["references"].tolist() == [TOKENIZER.decode(row[:-1]) for row in rows]
    for text, row in zip(found["texts"], rows, strict=True):
        told = text.replace("[", "").replace("]", "")
        assert "[" in text and len(told) == 24
        assert np.mean([a == b for a, b in zip(told, TOKENIZER.decode(row), strict=False)]) > 0.8


def test_of_packed_rows_only_real_tokens_are_hidden_and_each_reads_its_own_segment(learned):
    """Two texts in a row and padding: they are told as in rows of their own."""
    model, state = learned
    first, second = TOKENIZER.encode("not to be, th"), TOKENIZER.encode("mind to s")
    row = np.concatenate([first, second, np.zeros(2, np.int32)])[None]
    segments = np.array([1] * len(first) + [2] * len(second) + [0] * 2)[None]
    positions = np.concatenate([np.arange(len(part)) for part in (first, second, [0] * 2)])[None]
    fields = dict(tokens=row, segments=segments, positions=positions)
    batch = {name: jnp.asarray(values, jnp.int32) for name, values in fields.items()}
    model = method(length=24, positions="rotary", share=0.9)
    texts = model.sample(state, jax.random.key(0), count=1, batch=batch)["texts"]
    assert len(re.sub(r"[\[\]]", "", texts[0])) == len(first) + len(second)

    all_chosen = method(length=24, share=1.0)
    hidden = all_chosen.hidden(jax.random.key(0), batch["tokens"], batch["segments"] > 0)
    np.testing.assert_array_equal(hidden == MASK, segments > 0)

    masked = np.where(np.arange(24) % 3 == 1, MASK, row)
    told = model.filled(state.params["model"], batch | {"tokens": jnp.asarray(masked)})
    for part in (slice(0, len(first)), slice(len(first), -2)):
        alone = {name: values[:, part] for name, values in batch.items()}
        alone["tokens"] = jnp.asarray(masked[:, part])
        found = model.filled(state.params["model"], alone)
        np.testing.assert_array_equal(told[:, part], found)


def test_the_end_before_a_packed_document_is_seen():
    """In training and under a prompt; that after one is hidden as any token is."""
    end = TOKENIZER.end
    text = TOKENIZER.document("to be").tolist()
    row = jnp.array([[end, *text, end, *text, 0, 0]])
    segments = jnp.array([[1] * 7 + [2] * 7 + [0] * 2])
    positions = jnp.array([[*range(7), *range(7), 0, 0]])
    fields = {"tokens": row, "segments": segments, "positions": positions}
    model = method(packed=True, share=1.0)
    expected = [[False, *[True] * 6] * 2 + [False] * 2]
    np.testing.assert_array_equal(model.may_be_hidden(fields), expected)
    hidden = model.hidden(jax.random.key(0), row, model.may_be_hidden(fields))
    np.testing.assert_array_equal(hidden == MASK, expected)
    state = model.init(jax.random.key(0), fields)
    batch = {name: jnp.pad(x, ((0, 0), (0, 1))) for name, x in fields.items()}
    assert model.evaluate(state, batch, jax.random.key(0))["weight"] == 12
    assert model.framed("<mask>o").tolist() == [end, MASK, *TOKENIZER.encode("o")]
    (told,) = model.sample(state, jax.random.key(0), count=1, prompt="<mask>o")["texts"]
    assert told.startswith("[") and told.endswith("]o")


def test_bad_input():
    model = method()
    state = model.init(jax.random.key(0), batch_of(jnp.zeros((1, 17), jnp.int32)))
    for prompt, message in {
        "to be": "the prompt has no <mask>",
        "<mask>" * 17: "the prompt has 17 tokens, and the model's context is 16",
        "<mask>ß": "no token for 'ß'",
    }.items():
        with pytest.raises(InputError, match=message):
            model.sample(state, jax.random.key(0), count=1, prompt=prompt)
    with pytest.raises(InputError, match=r"method.share is 0"):
        method(share=0.0)
