"""Sequence tasks' methods: the losses' values, that they are learned, and no samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.data.examples import InMemory
from research.data.sequence_tasks import SequenceTask
from research.errors import InputError
from research.methods.sequence_tasks import (
    AnswerClassification,
    SequenceRegression,
    StepClassification,
    StepRegression,
)
from research.networks.recurrent import Recurrent
from research.networks.temporal_convolution import TCN
from research.networks.transformer import Transformer
from research.training.optimizers import optimizer
from research.training.state import TrainState


def made(method, network, **options):
    rate = optimizer(learning_rate=1e-2, total_steps=1, **options)
    return method(network=network, optimizer=rate)


def batch_of(steps=12, outputs=None):
    rng = np.random.default_rng(0)
    inputs = jnp.asarray(rng.normal(size=(16, steps, 2)), jnp.float32)
    if outputs is None:
        return {"inputs": inputs, "target": inputs[:, 0, 0]}
    return {"inputs": inputs, "targets": rng.integers(outputs, size=(16, steps), dtype=np.int32)}


@pytest.mark.parametrize(
    "network", [TCN(width=4, levels=2, kernel_size=2, outputs=1), Recurrent(width=4, outputs=1)]
)
def test_a_regression_is_of_the_last_step(network):
    method, batch = made(SequenceRegression, network), batch_of()
    state = jax.jit(method.init)(jax.random.key(0), batch)
    found = jax.jit(method.evaluate)(state, batch, jax.random.key(0))["loss"]
    params = {"params": state.params["model"]}
    hidden = method.network.apply(params, batch["inputs"])
    outputs = method.network.apply(params, hidden, method="logits")
    np.testing.assert_allclose(found, (outputs[:, -1, 0] - batch["target"]) ** 2, rtol=1e-4)


def test_a_classification_is_of_every_step():
    method, batch = (
        made(StepClassification, Recurrent("gru", width=4, outputs=5)),
        batch_of(outputs=5),
    )
    state = jax.jit(method.init)(jax.random.key(0), batch)
    found = jax.jit(method.evaluate)(state, batch, jax.random.key(0))
    params = {"params": state.params["model"]}
    hidden = method.network.apply(params, batch["inputs"])
    logits = np.asarray(method.network.apply(params, hidden, method="logits"), np.float64)
    chances = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    own = np.take_along_axis(chances, batch["targets"][..., None], -1)[..., 0]
    np.testing.assert_allclose(found["loss"], -np.log(own).mean(1), rtol=1e-5)
    right = logits.argmax(-1) == batch["targets"]
    np.testing.assert_allclose(found["accuracy"], right.mean(1), rtol=1e-6)


@pytest.mark.parametrize("name", ["adam", "rmsprop"])
def test_a_first_number_is_remembered_to_the_end(name):
    """Less than a tenth of what predicting the mean costs, after 150 steps on one batch."""
    method, batch = (
        made(SequenceRegression, Recurrent("lstm", width=8, outputs=1), name=name),
        batch_of(6),
    )
    state, step = jax.jit(method.init)(jax.random.key(0), batch), jax.jit(method.step)
    for index in range(150):
        state, metrics = step(state, batch, jax.random.key(index))
    assert metrics["model/loss"] < 0.1 * np.var(batch["target"])


def test_rmsprop_is_pytorchs():
    """v = a v + (1 - a) g^2 and a step of g / (sqrt(v) + eps), eps outside the root."""
    move = optimizer("rmsprop", learning_rate=0.1, total_steps=1, b2=0.99, eps=1e-3)
    gradient = jnp.array([2.0, -1e-3])
    updates, _ = move.update(gradient, move.init(jnp.zeros(2)), jnp.zeros(2))
    expected = -0.1 * gradient / (jnp.sqrt(0.01 * gradient**2) + 1e-3)
    np.testing.assert_allclose(updates, expected, rtol=1e-5)


def test_draws_no_samples():
    method = made(SequenceRegression, Recurrent(width=4, outputs=1))
    with pytest.raises(InputError, match="draws no samples"):
        method.sample(TrainState(jnp.zeros((), jnp.int32), {}, {}, {}), jax.random.key(0), count=1)


FLOAT, INT = np.zeros((4, 6, 2), np.float32), np.zeros((4, 6), np.int32)


@pytest.mark.parametrize(
    ("method", "batch", "message"),
    [
        (SequenceRegression, {"inputs": FLOAT, "targets": INT}, "a number of the whole, target;"),
        (SequenceRegression, {"inputs": FLOAT, "target": INT[:, 0]}, "target, int32 ()"),
        (StepRegression, {"inputs": FLOAT, "targets": INT}, "a number of every step, targets;"),
        (
            AnswerClassification,
            {"tokens": INT},
            "a class of the whole, target; the data has tokens",
        ),
        (AnswerClassification, {"inputs": FLOAT, "target": INT}, "target, int32 (6,)"),
        (StepClassification, {"inputs": FLOAT, "targets": INT[:, 1:]}, "of every step, targets;"),
    ],
)
def test_other_data_is_one_line(method, batch, message):
    refused = made(method, Recurrent(width=4, outputs=1))
    with pytest.raises(InputError) as caught:
        refused.init_params(jax.random.key(0), batch)
    assert message in str(caught.value)


def test_an_answer_is_the_class_of_the_last_token():
    network = Transformer(vocabulary=7, length=4, width=8, layers=1, heads=2)
    rng = np.random.default_rng(0)
    batch = {
        "inputs": jnp.asarray(rng.integers(7, size=(16, 4), dtype=np.int32)),
        "target": rng.integers(7, size=16, dtype=np.int32),
    }
    method = made(AnswerClassification, network)
    state = jax.jit(method.init)(jax.random.key(0), batch)
    found = jax.jit(method.evaluate)(state, batch, jax.random.key(0))
    params = {"params": state.params["model"]}
    hidden = network.apply(params, batch["inputs"])
    chances = jax.nn.log_softmax(network.apply(params, hidden, method="logits")[:, -1])
    np.testing.assert_allclose(found["loss"], -chances[np.arange(16), batch["target"]], rtol=1e-5)
    np.testing.assert_array_equal(found["accuracy"], chances.argmax(-1) == batch["target"])


@pytest.mark.parametrize(
    "network",
    [
        Transformer(length=6, channels=2, outputs=1, width=8, layers=1, heads=2, tied=False),
        Recurrent(width=4, outputs=1),
    ],
)
def test_a_regression_of_every_step_sees_no_later_one(network):
    batch = batch_of(steps=6)
    batch["targets"] = batch.pop("target")[:, None] * jnp.arange(6.0)
    method = made(StepRegression, network)
    state = jax.jit(method.init)(jax.random.key(0), batch)
    params = state.params["model"]
    per_step = jax.jit(method.per_step)
    found = per_step(params, batch)
    hidden = network.apply({"params": params}, batch["inputs"])
    outputs = network.apply({"params": params}, hidden, method="logits")[..., 0]
    np.testing.assert_allclose(found, (outputs - batch["targets"]) ** 2, rtol=1e-4)
    loss = method.evaluate(state, batch, jax.random.key(0))["loss"]
    np.testing.assert_allclose(loss, found.mean(axis=1), rtol=1e-4)
    later = {**batch, "inputs": batch["inputs"].at[:, 4:].add(1)}
    changed = np.asarray(per_step(params, later) != found).any(axis=0)
    assert not changed[:4].any() and changed[4:].all()


def test_answers_are_guessed_without_an_input():
    """One of 4 answers met is the class most often seen; Laplace's shares are 3/8, 1/8 and 4/8."""
    sets = [answers([2, 2, 2, 0, 0]), answers([2, 1, 1, 0])]
    found = made(AnswerClassification, Recurrent(width=4, outputs=3)).trivial(*sets)
    assert found["accuracy"] == {"majority": 0.25}
    expected = -np.log([4 / 8, 1 / 8, 1 / 8, 3 / 8]).mean()
    assert found["loss"]["shares"] == pytest.approx(expected)


def answers(targets):
    source = InMemory({"target": np.array(targets, np.int32)})
    return SequenceTask(
        name="answers", split="", fingerprint="", source=source, channels=1, outputs=3
    )
