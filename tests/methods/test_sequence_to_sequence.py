"""Sequence to sequence: what is counted, and texts written by every strategy after any input."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from research.data import tokenizers
from research.data.examples import InMemory
from research.data.text_sets import PairSet
from research.errors import InputError
from research.methods.sequence_to_sequence import SequenceToSequence
from research.networks.encoder_decoder import EncoderDecoder

TOKENIZER = tokenizers.train("char", ["abcdefgh"])
S, T = 8, 6


def rows(texts, length):
    tokens = np.full((len(texts), length), TOKENIZER.pad, np.int32)
    for row, text in zip(tokens, texts, strict=True):
        ids = TOKENIZER.document(text)
        row[: len(ids)] = ids
    return tokens


def pairs(texts):
    """The first half of a text is its target."""
    return {"inputs": rows(texts, S), "targets": rows([t[: len(t) // 2] for t in texts], T)}


def method():
    sizes = dict(vocabulary=TOKENIZER.size, input_length=S, target_length=T)
    return SequenceToSequence(
        network=EncoderDecoder(**sizes, width=16, layers=1, heads=2, copies=True),
        optimizer=optax.adam(3e-3),
        tokenizer=TOKENIZER,
    )


@pytest.fixture(scope="module")
def learned():
    """A model that copies the first half of what it reads, and its state."""
    ours = method()
    rng = np.random.default_rng(0)

    def batch(size=64):
        lengths = rng.integers(2, 8, size)
        return pairs(["".join(rng.choice(list("abcdefgh"), n, replace=False)) for n in lengths])

    state = jax.jit(ours.init)(jax.random.key(0), batch())
    step = jax.jit(ours.step)
    # How soon it copies depends on a processor's roundings.
    for i in range(3000):
        state, metrics = step(state, batch(), jax.random.key(i))
        if i % 100 == 99 and metrics["model/loss"] < 0.05:
            return ours, state
    raise AssertionError(f"it has not learned to copy: {metrics['model/loss']}")


def test_what_counts_is_a_target_up_to_its_end():
    """By hand: logits after the start and the tokens before, of which those after `end` weigh 0."""
    ours = method()
    batch = pairs(["abcdef", "gh"])
    state = jax.jit(ours.init)(jax.random.key(0), batch)
    params = state.params["model"]

    @jax.jit
    def logits(tokens, inputs):
        def through(net):
            source = net.encode(inputs, jnp.array([inputs.shape[1]]))
            return net.logits(net(tokens, source))

        return ours.network.apply({"params": params}, method=through)

    found = jax.jit(ours.evaluate)(state, batch, jax.random.key(0))
    np.testing.assert_array_equal(found["weight"], [4, 2])
    total = 0.0
    for row, text in enumerate(("abcdef", "gh")):
        target = TOKENIZER.document(text[: len(text) // 2])
        before = np.array([[TOKENIZER.pad, *target[:-1]]])
        log_probs = jax.nn.log_softmax(logits(before, TOKENIZER.document(text)[None]))[0]
        nats = -np.asarray(log_probs)[np.arange(len(target)), target]
        np.testing.assert_allclose(found["loss"][row], nats.mean(), rtol=1e-5)
        total += nats.sum()
    loss, _ = jax.jit(ours.loss)(params, state, batch, jax.random.key(0))
    np.testing.assert_allclose(loss, total / 6, rtol=1e-5)


def test_trivial_models_read_targets_alone():
    """Trained on abc and ab, asked for ab, each with its end: by hand."""
    train, test = (
        PairSet(
            name="halves",
            split="",
            fingerprint="",
            source=InMemory(pairs(texts)),
            tokenizer=TOKENIZER,
            input_length=S,
            target_length=T,
        )
        for texts in (["abcdef", "abgh"], ["abcd"])
    )
    found = method().trivial(train, test)["loss"]
    alone = 3 / (7 + TOKENIZER.size)  # of a, of b and of the end
    assert found["unigram"] == pytest.approx(-np.log(alone))
    after = np.array([2 + alone, 2 + alone, 1 + alone]) / 3
    assert found["bigram"] == pytest.approx(-np.log(after).mean())


@pytest.mark.parametrize(
    "settings",
    [
        dict(strategy="greedy"),
        dict(strategy="beam", beams=3),
        dict(strategy="nucleus", top_p=0.5),
        dict(strategy="contrastive", top_k=2, alpha=0.0),
        dict(strategy="greedy", negative_prompt="h", guidance=1.0),
    ],
    ids=lambda settings: settings["strategy"],
)
def test_each_text_is_written_after_its_own_input(learned, settings):
    ours, state = learned
    batch = pairs(["hgfedc", "ab", "cdabef"])
    found = ours.sample(state, jax.random.key(0), count=3, batch=batch, **settings)
    assert list(found["texts"]) == ["hgf", "a", "cda"] == list(found["references"])
    assert list(found["inputs"]) == ["hgfedc", "ab", "cdabef"]
    assert found["compared_texts"][0] == "hgfedc\n\nwritten:   hgf\nreference: hgf"


def test_a_prompt_is_an_input(learned):
    ours, state = learned
    call = state, jax.random.key(0)
    found = ours.sample(*call, count=2, prompt="hgfedc", batch=pairs(["ab"]))
    assert {name: list(texts) for name, texts in found.items()} == {"texts": ["hgf"] * 2}
    assert "".join(ours.stream(*call, prompt="hgfedc")) == "hgf"
    assert "".join(ours.stream(*call, batch=pairs(["cdabef"]))) == "cdabef\n\ncda"
    (text,) = ours.sample(*call, count=1, prompt="hgfedc", regex="[a-d]{2}")["texts"]
    assert len(text) == 2 and set(text) <= set("abcd")
    (text,) = ours.sample(*call, count=1, prompt="hgfedc", new_tokens=2)["texts"]
    assert text == "hg"
    with pytest.raises(InputError, match="no strategy 'beem'"):  # before the input is shown
        next(ours.stream(*call, batch=pairs(["cdabef"]), strategy="beem"))
    with pytest.raises(InputError, match="no token for 'Ω'"):
        ours.sample(*call, count=1, prompt="Ω")
