"""A family's step gives the same on one device as split over eight."""

import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from research.run import draw, restore
from tests.families import FAMILIES

STEPS = 3


@pytest.mark.parametrize("config", FAMILIES)
def test_one_device_and_eight_agree(config, tmp_path):
    arguments = [config, str(STEPS), str(tmp_path)]
    subprocess.run([sys.executable, "-m", "tests.configs.devices", *arguments], check=True)
    one, eight = (np.load(tmp_path / f"{count}.npz") for count in (1, 8))
    assert set(one) == set(eight)
    moved = 0
    for name in one:
        np.testing.assert_allclose(eight[name], one[name], rtol=1e-4, atol=1e-5, err_msg=name)
        moved += one[name].dtype == np.float32
    assert moved > 4


def test_a_run_of_more_devices_is_read_on_one(tmp_path):
    command = [sys.executable, "-m", "launch.train", "--config=configs/vae.py:digits_debug"]
    command += [f"--workdir={tmp_path}", "--config.mesh.fsdp=2"]
    two = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    subprocess.run(command, check=True, env=two, capture_output=True)
    assert json.loads((tmp_path / "config.json").read_text())["mesh"]["fsdp"] == 2
    experiment, state = restore(tmp_path)
    assert dict(experiment.mesh.shape) == {"data": 1, "fsdp": 1, "tensor": 1}
    assert np.all(np.isfinite(draw(experiment, state, jax.random.key(0), count=2)["images"]))
