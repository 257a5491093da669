"""A run in its directory: what of a config may change, and what is told before training."""

import json

import numpy as np
import pytest

from research import run
from research.configuration import load_config
from research.errors import InputError


def debug(**keys):
    config = load_config("configs/vae.py:digits_debug")
    config.update_from_flattened_dict({key.replace("__", "."): v for key, v in keys.items()})
    return config


def test_what_only_watches_a_training_may_change(tmp_path):
    run.run(debug(), tmp_path)
    before = json.loads((tmp_path / "manifest.json").read_text())["final_state_sha256"]
    run.run(debug(sample__count=3, log__every_steps=2, evaluate__count=12), tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["sample"]["count"] == 3
    assert json.loads((tmp_path / "manifest.json").read_text())["final_state_sha256"] == before
    with pytest.raises(InputError, match="was made by another config: seed: 0 -> 1; choose"):
        run.run(debug(seed=1, log__every_steps=1), tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["log"]["every_steps"] == 2


def test_a_workdir_that_is_a_file(tmp_path):
    path = tmp_path / "notes"
    path.write_text("mine")
    with pytest.raises(InputError, match=r"cannot write in .*notes: File exists"):
        run.run(debug(), path)
    assert path.read_text() == "mine"


def test_one_example_has_no_standard_error():
    assert run.estimate(np.array([2.0])) == (2.0, pytest.approx(np.nan, nan_ok=True), 1)


def test_a_wrong_way_to_sample_is_named_before_the_first_step(tmp_path):
    """The mended command then goes on in the same directory, and shows the untrained network."""
    config = load_config("configs/ddpm.py:digits_debug")
    with config.unlocked():
        config.sample.solver = "ddmi"
    with pytest.raises(InputError, match="nearest: ddim"):
        run.run(config, tmp_path)
    assert not (tmp_path / "metrics.jsonl").read_text()
    config.sample.solver = "ddim"
    assert int(run.run(config, tmp_path).step) == config.steps
    shown = sorted(path.name for path in (tmp_path / "samples").glob("images_*"))
    assert shown[0] == "images_0000000.png" and len(shown) > 1
