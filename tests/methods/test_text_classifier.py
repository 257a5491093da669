"""The classifier of texts: its values, what it reads, that it learns, and where it starts."""

import dataclasses

import jax
import numpy as np
import pytest

from research.configuration import load_config
from research.data.examples import InMemory
from research.data.labelled_texts import LabelledSet
from research.errors import InputError
from research.methods import fine_tuning
from research.networks.recurrent import Recurrent
from research.networks.temporal_convolution import TCN
from research.pretrained import minilm
from research.registry import NETWORKS
from research.scores.artefacts import score
from tests.methods.sentences import CLASSES, TOKENIZER, batch_of, classifier, network


@pytest.fixture(scope="module")
def started():
    method, batch = classifier(), batch_of()
    return method, jax.jit(method.init)(jax.random.key(0), batch), batch


def test_the_loss_is_the_cross_entropy_of_the_mean_hidden_state(started):
    method, state, batch = started
    # Weights so large that every token is heard.
    state = dataclasses.replace(state, params=jax.tree.map(lambda x: 8 * x, state.params))
    found = jax.jit(method.evaluate)(state, batch, jax.random.key(0))
    params = state.params["model"]
    for row in (0, 3):  # two tokens of one type, and six of two
        # The text alone, without what fills it up.
        size = int(batch["segments"][row].sum())
        tokens, types = (batch[name][row : row + 1, :size] for name in ("tokens", "types"))
        hidden = jax.jit(method.network.apply)({"params": params["encoder"]}, tokens, types=types)
        mean = np.asarray(hidden)[0].mean(0)
        logits = mean @ np.asarray(params["head"]["kernel"]) + np.asarray(params["head"]["bias"])
        chances = np.exp(logits) / np.exp(logits).sum()
        assert found["loss"][row] == pytest.approx(-np.log(chances[batch["label"][row]]), rel=1e-4)
        assert found["accuracy"][row] == (chances.argmax() == batch["label"][row])


def test_learns_a_batch_with_dropout_in_training_alone():
    method, batch = classifier(network(dropout=0.1)), batch_of()
    state, step = jax.jit(method.init)(jax.random.key(0), batch), jax.jit(method.step)
    one, other = (step(state, batch, jax.random.key(i))[1]["model/loss"] for i in (0, 1))
    assert one != other
    for index in range(60):
        state, _ = step(state, batch, jax.random.key(index))
    evaluate = jax.jit(method.evaluate)
    first, second = (evaluate(state, batch, jax.random.key(i)) for i in (0, 1))
    np.testing.assert_array_equal(first["loss"], second["loss"])
    assert first["accuracy"].mean() > 0.9


def test_answers_are_shown_and_scored_beside_the_majority(started):
    method, state, batch = started
    found = method.sample(state, jax.random.key(0), count=16, batch=batch)
    right = jax.jit(method.evaluate)(state, batch, jax.random.key(0))["accuracy"]
    np.testing.assert_array_equal(found["predictions"] == found["labels"], right)
    for predicted, label, text in zip(*found.values(), strict=True):
        assert f"\n{CLASSES[predicted]}," in text
        assert text.endswith(", right" if predicted == label else f"it is {CLASSES[label]}")
    arrays = {name: np.asarray(array) for name, array in batch.items()}
    given = dict(name="rows", fingerprint="", tokenizer=TOKENIZER, length=6, classes=CLASSES)
    rows = LabelledSet(split="train", source=InMemory(arrays), **given)
    scores = {s.metric.split("[")[0]: s for s in score(found, rows, rows)}
    most = np.bincount(arrays["label"]).max() / 16
    assert scores["accuracy"].value == pytest.approx(right.mean())
    assert scores["accuracy"].baselines["majority"] == pytest.approx(most)
    assert method.trivial(rows, rows)["accuracy"]["majority"] == pytest.approx(most)
    shares = (np.bincount(arrays["label"]) + 1) / 19
    expected = -np.log(shares[arrays["label"]]).mean()
    assert method.trivial(rows, rows)["loss"]["shares"] == pytest.approx(expected)


def test_pretrained_weights_are_where_it_starts(monkeypatch):
    def ones(like):
        return jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), like)

    monkeypatch.setitem(fine_tuning.PRETRAINED, "ones", fine_tuning.Pretrained(network, ones))
    method = classifier(pretrained="ones")
    params = method.init_params(jax.random.key(0), batch_of())["model"]
    fresh = jax.eval_shape(classifier().init, jax.random.key(0), batch_of()).params["model"]
    assert jax.tree.structure(params) == jax.tree.structure(fresh)
    assert all((leaf == 1).all() for leaf in jax.tree.leaves(params["encoder"]))
    assert not (params["head"]["kernel"] == 1).any()


@pytest.mark.parametrize(
    "encoder",
    [
        Recurrent("gru", vocabulary=TOKENIZER.size, width=8),
        TCN(vocabulary=TOKENIZER.size, width=8, levels=2, kernel_size=2),
    ],
    ids=lambda encoder: type(encoder).__name__,
)
def test_an_encoder_without_types_reads_the_text_and_not_what_fills_it_up(encoder):
    method, batch = classifier(encoder), batch_of()
    state, step = jax.jit(method.init)(jax.random.key(0), batch), jax.jit(method.step)
    for index in range(60):
        state, metrics = step(state, batch, jax.random.key(index))
    assert metrics["model/accuracy"] > 0.9
    filled = batch["tokens"] + (batch["segments"] == 0)
    evaluate = jax.jit(method.evaluate)
    found, same = (
        evaluate(state, {**batch, "tokens": tokens}, jax.random.key(0))["loss"]
        for tokens in (batch["tokens"], filled)
    )
    np.testing.assert_allclose(found, same, rtol=1e-5)


@pytest.mark.parametrize(
    ("setting", "wrong"),
    [
        (dict(heads=6), "network.heads is 6, and minilm's is 12"),
        (dict(causal=True), "network.causal is True, and minilm's is False"),
        (dict(activation="relu"), "network.activation is 'relu', and minilm's is 'gelu_exact'"),
    ],
)
def test_weights_of_a_network_that_computes_otherwise(setting, wrong):
    """Their shapes fit, and they would mean nothing."""
    classifier(minilm.network().clone(dropout=0.1, scan=True), pretrained="minilm")
    with pytest.raises(InputError, match=wrong):
        classifier(minilm.network().clone(**setting), pretrained="minilm")
    with pytest.raises(InputError, match="the network is a Recurrent, and minilm is a Transformer"):
        classifier(Recurrent(vocabulary=30522), pretrained="minilm")


def test_weights_that_are_not_there():
    with pytest.raises(InputError, match=r"method\.pretrained='minlm' is unknown; nearest: minilm"):
        classifier(pretrained="minlm")


@pytest.mark.parametrize("variant", ["gloss_categories", "gloss_categories_lora", "gloss_words"])
def test_the_config_has_minilms_network(variant):
    section = dict(load_config(f"configs/minilm.py:{variant}").network)
    made = NETWORKS[section.pop("name")](vocabulary=30522, **section)
    assert made.clone(product_dtype=None) == minilm.network()
