"""Extractors: trained once and kept, batches of one shape, clear refusals."""

import types

import jax.numpy as jnp
import numpy as np
import pytest

from research import extractors
from research.data import datasets
from research.data.scaling import scaled
from research.errors import InputError
from research.extractors import extractor, extractor_name, judge_name
from research.training.optimizers import EmaState
from research.training.state import TrainState


@pytest.fixture(scope="module")
def test_images():
    arrays = datasets.load("digits", "test").arrays()
    return scaled(arrays["image"], 17), arrays["label"]


@pytest.mark.parametrize("name", ["digits_convnet", "digits_judge"])
def test_accuracy(name, test_images):
    images, labels = test_images
    probabilities = extractor(name).probabilities(images)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert (probabilities.argmax(axis=1) == labels).mean() > 0.97


def test_the_judge_is_another_network():
    one, other = extractor("digits_convnet"), extractor("digits_judge")
    assert one.sha256 != other.sha256
    digits = datasets.load("digits", "train")
    assert (extractor_name(digits), judge_name(digits)) == (one.name, other.name)


def test_batches_do_not_show(test_images):
    network, (images, _) = extractor("digits_convnet"), test_images
    assert len(images) % network.batch_size
    features = network.features(images)
    assert features.shape == (len(images), network.dim)
    np.testing.assert_allclose(network.features(images[250:260]), features[250:260], atol=1e-5)
    assert network.apply._cache_size() == 1


def test_trained_once(monkeypatch, tmp_path):
    monkeypatch.setenv("ATELIER_CACHE", str(tmp_path))
    config = extractors.load_config("configs/classifier.py:digits_debug")
    monkeypatch.setattr(extractors, "load_config", lambda name: config)
    first = extractors._convnet("digits_convnet")
    monkeypatch.setattr(extractors, "_train", None)
    assert extractors._convnet("digits_convnet").sha256 == first.sha256
    with config.unlocked():
        config.seed = 5
    with pytest.raises(TypeError):
        extractors._convnet("digits_convnet")


def test_what_is_kept_is_the_averaged_parameters(monkeypatch, tmp_path):
    live, average = ({"head": {"kernel": jnp.full(2, value)}} for value in (1.0, 2.0))
    opt_state = {"model": EmaState(jnp.int32(1), average)}
    state = TrainState(jnp.int32(3), {"model": live}, opt_state, {})
    trained = types.SimpleNamespace(steps=3, train=lambda writers, mesh: state)
    monkeypatch.setattr(extractors, "build", lambda config: trained)
    extractors._train("digits_convnet", tmp_path / "params.npz")
    with np.load(tmp_path / "params.npz") as kept:
        np.testing.assert_array_equal(kept["head/kernel"], 2.0)


def test_bad_input(test_images):
    with pytest.raises(InputError, match="nearest: digits_convnet"):
        extractor("digit_convnet")
    with pytest.raises(InputError, match="takes images of 8x8x1, these are 8x7x1"):
        extractor("digits_convnet").features(test_images[0][:, :, :7])
