"""Scores: their order from real data to noise, determinism, and the file."""

import dataclasses
import json
import math
import re

import numpy as np
import pytest

from research.data import datasets, image_sets
from research.data.scaling import scaled, to_levels
from research.errors import InputError
from research.run import Estimate
from research.scores import images
from research.scores.images import BASELINES, anchor_images, anchor_scores, score_images
from research.scores.table import print_scores, read_scores, read_test_metrics, write_scores


@pytest.fixture(scope="module")
def samples():
    """What a middling model draws: real images under noise."""
    images = scaled(datasets.load("digits", "train").arrays()["image"][:120], 17)
    noise = np.random.default_rng(0).normal(size=images.shape)
    return (images + 0.3 * noise).clip(-1, 1).astype(np.float32)


@pytest.fixture(scope="module")
def scores(samples):
    return score_images(samples, "digits")


def test_from_real_to_noise(scores):
    for score in scores:
        sign = 1 if score.better == "lower" else -1
        floor, ours, *trivial = (
            sign * value for value in (score.floor, score.value, *score.baselines.values())
        )
        assert floor < ours < min(trivial) or score.metric.startswith("confident_share")
    share = scores[-1]
    assert share.floor > 0.9 > 0.6 > max(share.baselines.values())


def test_names_say_by_what_and_of_how_many(scores):
    assert [score.metric for score in scores] == [
        "frechet[digits_convnet,n=120,8x8]",
        "kernel_distance[digits_convnet,n=120,8x8]",
        "precision[digits_convnet,n=120,8x8,k=3]",
        "recall[digits_convnet,n=120,8x8,k=3]",
        "density[digits_convnet,n=120,8x8,k=5]",
        "coverage[digits_convnet,n=120,8x8,k=5]",
        "confident_share[digits_judge,n=120,8x8,p>0.9]",
    ]
    assert {score.sample_count for score in scores} == {120}
    assert not any(re.search(r"\bfid\b", score.metric, re.IGNORECASE) for score in scores)


def test_deterministic(samples, scores):
    anchor_scores.cache_clear()
    assert score_images(samples, "digits") == scores
    assert score_images(samples, "digits", seed=1)[0].floor != scores[0].floor


def test_the_file(scores, tmp_path, capsys):
    path = tmp_path / "scores.json"
    metrics = {"bits_per_dim": Estimate(1.25, 0.125, 7)}
    origin = dict(trivial={}, step=2, seed=0, git={"commit": "first", "dirty": False})
    write_scores(path, scores, test_metrics=metrics, **origin)
    assert json.loads(path.read_text()).items() >= origin.items()
    assert read_scores(path) == scores
    assert read_test_metrics(path) == metrics
    one = {"bits_per_dim": Estimate(1.25, math.nan, 1)}
    write_scores(tmp_path / "one.json", scores, test_metrics=one, **origin)
    assert read_test_metrics(tmp_path / "one.json")["bits_per_dim"].standard_error is None
    row = json.loads(path.read_text())["scores"][0]
    assert set(row) == {field.name for field in dataclasses.fields(scores[0])}
    assert set(row["baselines"]) == set(BASELINES)
    print_scores(scores)
    table = capsys.readouterr().out
    assert "[digits_judge,n=120,8x8,p>0.9]" in table and f"{scores[0].value:.4g}" in table
    path.write_text(json.dumps({"schema_version": 0, "scores": []}))
    with pytest.raises(InputError, match="schema version 0"):
        read_scores(path)
    path.write_text('{"schema_version": ')
    with pytest.raises(InputError, match=r"scores\.json is damaged"):
        read_scores(path)


def test_of_a_set_beyond_memory_only_what_is_chosen_is_decoded(monkeypatch):
    whole = anchor_images("digits", 30, seed=0)
    train = datasets.load("digits", "train").arrays()["image"]
    places = np.sort(np.random.default_rng(0).permutation(len(train))[:50])
    monkeypatch.setattr(image_sets, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(images, "REFERENCE_COUNT", 50)
    monkeypatch.setattr(image_sets.ImageSet, "arrays", None)
    chosen = images.reference_images(datasets.load("digits", "train"), seed=0)
    np.testing.assert_array_equal(chosen, train[places])
    assert images.reference_features.__wrapped__("digits", "digits_convnet", 0).shape[0] == 50
    found = anchor_images("digits", 30, seed=0)
    for name in ("floor", "uniform_noise"):
        np.testing.assert_array_equal(found[name], whole[name])
    apart = np.abs(found["per_pixel_gaussian"] - whole["per_pixel_gaussian"])
    assert 0 < apart.mean() < 0.1


def test_what_stands_beside():
    images = anchor_images("digits", 360, seed=0)
    assert {len(set_) for set_ in images.values()} == {360}
    # All test images are taken, in order; the noise has each level equally often.
    test = scaled(datasets.load("digits", "test").arrays()["image"], 17)
    np.testing.assert_array_equal(images["floor"], test)
    counts = np.bincount(to_levels(images["uniform_noise"], 17).ravel(), minlength=17)
    assert np.abs(counts / counts.sum() - 1 / 17).max() < 4 * np.sqrt(1 / 17 / counts.sum())
    pixel = scaled(datasets.load("digits", "train").arrays()["image"], 17)[:, 2, 2, 0]
    gaussian = np.random.default_rng(1).normal(pixel.mean(), pixel.std(), 100_000).clip(-1, 1)
    drawn = images["per_pixel_gaussian"][:, 2, 2, 0]
    assert abs(drawn.mean() - gaussian.mean()) < 4 * gaussian.std() / np.sqrt(360)
    assert abs(drawn.std() - gaussian.std()) < 4 * gaussian.std() / np.sqrt(720)
    assert np.abs(images["per_pixel_gaussian"]).max() == 1


def test_levels_and_back():
    integers = np.arange(17, dtype=np.uint8).reshape(1, 17, 1, 1)
    images = scaled(integers, 17)
    assert images.min() == -1 and images.max() == 1
    np.testing.assert_array_equal(to_levels(images + 0.05, 17), integers)
    np.testing.assert_array_equal(to_levels(3 * np.sign(images), 17)[0, [0, 16], 0, 0], [0, 16])


def test_bad_input(samples):
    with pytest.raises(InputError, match="digits has 360"):
        score_images(np.concatenate([samples] * 4), "digits")
    with pytest.raises(InputError, match="not finite"):
        score_images(samples * np.nan, "digits")
    with pytest.raises(InputError, match="more than 3 rows"):
        score_images(samples[:3], "digits")
    with pytest.raises(InputError, match="takes images of 8x8x1"):
        score_images(samples[:, :4], "digits")
