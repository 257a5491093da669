"""The classifier: cross-entropy's value, and that it learns digits and draws nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.configuration import load_config
from research.data import image_sets
from research.errors import InputError
from research.experiment import build


@pytest.fixture(scope="module")
def debug():
    config = load_config("configs/classifier.py:digits_debug")
    sizes = {"steps": 60, "network.width": 4, "network.features": 8}
    config.update_from_flattened_dict(sizes | {"optimizer.learning_rate": 2e-2})
    experiment = build(config)
    state = jax.jit(experiment.method.init)(jax.random.key(0), experiment.example())
    return experiment, state


def test_cross_entropy_and_accuracy(debug):
    experiment, state = debug
    batch = next(experiment.iterator())
    metrics = jax.jit(experiment.method.evaluate)(state, batch, jax.random.key(0))
    images = jnp.asarray(batch["image"], jnp.float32) / 8 - 1
    logits, _ = experiment.method.network.apply({"params": state.params["model"]}, images)
    probabilities = np.asarray(jax.nn.softmax(logits))
    own = probabilities[np.arange(len(images)), batch["label"]]
    np.testing.assert_allclose(metrics["loss"], -np.log(own), rtol=1e-5)
    np.testing.assert_array_equal(metrics["accuracy"], probabilities.argmax(1) == batch["label"])


def test_learns_a_batch(debug):
    experiment, state = debug
    batch, step = next(experiment.iterator()), jax.jit(experiment.method.step)
    losses = []
    for index in range(60):
        state, metrics = step(state, batch, jax.random.key(index))
        losses.append(float(metrics["model/loss"]))
    assert losses[-1] < losses[0] / 10


def test_the_majority_stands_beside(debug):
    experiment, _ = debug
    found = experiment.method.trivial(experiment.train_data, experiment.test_data)
    assert 0.1 <= found["accuracy"]["majority"] < 0.11
    assert found["loss"]["shares"] == pytest.approx(np.log(10), abs=0.01)


def test_the_majority_of_a_set_beyond_memory_holds_no_images(monkeypatch, debug):
    expected = debug[0].method.trivial(debug[0].train_data, debug[0].test_data)
    monkeypatch.setattr(image_sets, "IN_MEMORY_BYTES", 0)
    sets = [image_sets.load("digits", split) for split in ("train", "test")]
    assert not any(data.fits_in_memory for data in sets)
    assert debug[0].method.trivial(*sets) == expected
    assert not any("_arrays" in vars(data) for data in sets)


def test_draws_no_samples(debug):
    experiment, state = debug
    with pytest.raises(InputError, match="draws no samples"):
        experiment.method.sample(state, jax.random.key(0), count=1)
