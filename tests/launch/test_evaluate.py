"""What can't be scored is refused before anything is drawn."""

import dataclasses
import shutil
import subprocess
import sys

import pytest

from research import run
from research.configuration import load_config
from research.errors import InputError
from research.experiment import build
from research.scores.artefacts import check_count
from research.training.manifest import read_json, write_json


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    run.run(load_config("configs/vae.py:digits_debug"), folder)
    return folder


def error(workdir, *flags):
    """The last line of a command that fails."""
    command = [sys.executable, "-m", "launch.evaluate", f"--workdir={workdir}", *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 1
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--count=361", "--count=361 is above the 360 test images that samples stand by"),
        ("--shots=2", "--shots are solved questions of a --task; name one"),
    ],
)
def test_a_flag_that_can_not_be_met_is_one_line(workdir, flag, message):
    assert error(workdir, flag) == f"evaluate: error: {message}"


def test_a_run_is_scored_on_its_own_data_alone(workdir, tmp_path):
    """Of another split test examples may be those that it was trained on."""
    other = shutil.copytree(workdir, tmp_path / "other")
    told = read_json(other / "manifest.json")
    told["data_sha256"]["digits/train"] = "another"
    write_json(other / "manifest.json", told)
    assert "was trained on other data than digits/train is now" in error(other)
    assert not (other / "scores.json").exists()


def test_a_task_of_characters_that_the_tokenizer_has_not(tmp_path):
    run.run(load_config("configs/gpt.py:shakespeare_char_debug"), tmp_path)
    assert error(tmp_path, "--task=gloss_kind").startswith(
        "evaluate: error: --task=gloss_kind can't be asked: the tokenizer has no token for '`', at"
    )


def test_no_example_is_scored_twice():
    experiment = build(load_config("configs/ppo.py:canvas_debug"))
    check_count(experiment, 360)
    with pytest.raises(InputError, match="--count=361 is above the 360 test examples"):
        check_count(experiment, 361)


def test_images_that_nothing_scores_are_not_drawn():
    experiment = build(load_config("configs/vae.py:digits_debug"))
    other = dataclasses.replace(experiment.test_data, name="fashion_mnist")
    experiment = dataclasses.replace(experiment, test_data=other)
    check_count(experiment, 0)
    with pytest.raises(InputError, match=r"no extractor is for .fashion_mnist.*--count=0"):
        check_count(experiment, 9)
