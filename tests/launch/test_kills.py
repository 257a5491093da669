"""A run that is killed and resumed ends in the state of the one that was not, bit for bit."""

import functools
import json
import random
import signal
import subprocess
import sys
import time

import pytest

from tests.families import AUTOENCODER, FAMILIES, TEXT

STEPS = 10


def command(config, workdir):
    return [
        *(sys.executable, "-m", "launch.train", f"--config={config}"),
        *(f"--workdir={workdir}", f"--config.steps={STEPS}", "--config.log.every_steps=1"),
        *("--config.checkpoint.every_steps=1", "--config.sample.every_steps=0"),
    ]


def start(config, workdir):
    return subprocess.Popen(
        command(config, workdir), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(config, workdir):
    process = start(config, workdir)
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    assert f"finished at step {STEPS}" in output
    return json.loads((workdir / "manifest.json").read_text())["final_state_sha256"]


def steps_logged(workdir):
    path = workdir / "metrics.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


def wait_for_step(process, workdir, step):
    while process.poll() is None and steps_logged(workdir) < step:
        time.sleep(0.01)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The final state's hash of a run of the config that nothing stopped."""
    return functools.cache(lambda config: finish(config, tmp_path_factory.mktemp("whole") / "run"))


def killed_and_resumed(config, workdir, seed):
    """Kills at a random moment from the first step's log on, saves (one a step) included."""
    rng = random.Random(seed)
    process = start(config, workdir)
    wait_for_step(process, workdir, rng.randrange(1, STEPS))
    time.sleep(rng.uniform(0, 0.3))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    return finish(config, workdir)


@pytest.mark.parametrize("config", [AUTOENCODER, TEXT])
def test_one_kill(tmp_path, uninterrupted, config):
    assert killed_and_resumed(config, tmp_path / "run", "one") == uninterrupted(config)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_twenty_kills(tmp_path, uninterrupted, seed):
    config = FAMILIES[seed % len(FAMILIES)]
    assert killed_and_resumed(config, tmp_path / "run", seed) == uninterrupted(config)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_the_same_command_goes_on(tmp_path, uninterrupted, number):
    workdir = tmp_path / "run"
    process = start(AUTOENCODER, workdir)
    wait_for_step(process, workdir, 3)
    process.send_signal(number)
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    assert "stopped at step" in output
    manifest = json.loads((workdir / "manifest.json").read_text())
    assert "final_state_sha256" not in manifest
    assert finish(AUTOENCODER, workdir) == uninterrupted(AUTOENCODER)
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").open()]
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
