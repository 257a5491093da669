"""A family's step gives the same on one device as split over eight."""

import subprocess
import sys

import numpy as np
import pytest

from tests.families import FAMILIES

STEPS = 3


@pytest.mark.parametrize("config", FAMILIES)
def test_one_device_and_eight_agree(config, tmp_path):
    states = []
    for devices in (1, 8):
        out = tmp_path / f"{devices}.npz"
        arguments = [config, str(devices), str(STEPS), str(out)]
        subprocess.run([sys.executable, "-m", "tests.configs.devices", *arguments], check=True)
        states.append(np.load(out))
    one, eight = states
    assert set(one) == set(eight)
    moved = 0
    for name in one:
        np.testing.assert_allclose(eight[name], one[name], rtol=1e-4, atol=1e-5, err_msg=name)
        moved += one[name].dtype == np.float32
    assert moved > 4
