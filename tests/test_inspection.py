"""Inspection: a sample stands before its neighbours, and a latent space is drawn."""

import dataclasses

import jax
import numpy as np

from research.configuration import load_config
from research.data import image_sets, pipelines
from research.data.scaling import scaled
from research.experiment import build
from research.scores.inspection import inspection


def test_a_latent_space_and_neighbours():
    experiment = build(load_config("configs/vae.py:digits_debug"))
    state = experiment.method.init(jax.random.key(0), experiment.example())
    train = experiment.train_data
    remembered = scaled(train.arrays()["image"][100:110], train.levels)
    found = inspection(experiment, state, {"images": remembered})
    assert {name: values.shape for name, values in found.items()} == {
        "neighbour_images": (100, 8, 8, 1),
        "interpolation_images": (100, 8, 8, 1),
        "traversal_images": (10 * min(10, experiment.method.encoder.latent), 8, 8, 1),
        "map_images": (1, 500, 500, 3),
    }
    rows = found["neighbour_images"].reshape(10, 10, 8, 8, 1)
    np.testing.assert_array_equal(rows[:, 1], remembered)


def test_a_few_test_images_that_are_an_odd_number():
    experiment = build(load_config("configs/vae.py:digits_debug"))
    few = dataclasses.replace(experiment, test_data=image_sets.load("digits", "test[:15]"))
    state = experiment.method.init(jax.random.key(0), experiment.example())
    assert len(inspection(few, state, {})["interpolation_images"]) == 7 * 10


def test_of_a_set_beyond_memory_only_the_first_are_decoded(monkeypatch):
    monkeypatch.setattr(image_sets, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(image_sets.ImageSet, "arrays", None)
    experiment = build(load_config("configs/vae.py:digits_debug"))
    state = experiment.method.init(jax.random.key(0), experiment.example())
    train = experiment.train_data
    remembered = scaled(pipelines.rows(train, range(10))["image"], train.levels)
    found = inspection(experiment, state, {"images": remembered})
    rows = found["neighbour_images"].reshape(10, 10, 8, 8, 1)
    np.testing.assert_array_equal(rows[:, 1], remembered)
    assert "map_images" in found


def test_one_latent_has_no_map():
    config = load_config("configs/vae.py:digits_debug")
    config.network.encoder.latent = 1
    experiment = build(config)
    state = experiment.method.init(jax.random.key(0), experiment.example())
    found = inspection(experiment, state, {})
    assert set(found) == {"interpolation_images", "traversal_images"}


def test_points_need_none():
    experiment = build(load_config("configs/gan.py:ring_debug"))
    state = experiment.method.init(jax.random.key(0), experiment.example())
    assert inspection(experiment, state, {"points": np.zeros((4, 2))}) == {}
