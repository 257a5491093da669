"""What can't be scored is refused before anything is drawn."""

import dataclasses
import subprocess
import sys

import pytest

from research import run
from research.configuration import load_config
from research.errors import InputError
from research.experiment import build
from research.scores.artefacts import check_count


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    run.run(load_config("configs/vae.py:digits_debug"), folder)
    return folder


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--count=361", "--count=361 is above the 360 test images that samples stand by"),
        ("--shots=2", "--shots are solved questions of a --task; name one"),
    ],
)
def test_a_flag_that_can_not_be_met_is_one_line(workdir, flag, message):
    command = [sys.executable, "-m", "launch.evaluate", f"--workdir={workdir}", flag]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == f"evaluate: error: {message}"


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
