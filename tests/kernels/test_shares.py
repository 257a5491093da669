"""Hand-written kernels on a mesh of 8 simulated devices: the same results, and a TPU's lowering."""

import json
import subprocess
import sys

import pytest

from kernels.shares import shared_axes

LAUNCHES = {"attention": 3, "norm": 2, "decode": 1, "sample": 1}


@pytest.fixture(scope="module")
def found():
    command = [sys.executable, "-m", "tests.kernels.on_devices"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output)


def test_devices_that_share_a_batch_make_what_one_makes(found):
    """Sums over shares are taken in another order."""
    for name, difference in found["differences"].items():
        assert difference < 1e-4, name


def test_a_tpus_compiler_takes_a_kernel_on_several_devices(found):
    for name, launches in found["launches"].items():
        assert launches == LAUNCHES[name.split()[0].rstrip(",")], name


def test_axes_that_do_not_divide_the_batch_do_not_share_it():
    mesh = {"data": 2, "fsdp": 4, "tensor": 2}
    assert shared_axes(mesh, 8) == ("data", "fsdp")
    assert shared_axes(mesh, 12) == ("data",)
    assert shared_axes(mesh, 3) == ()
    assert shared_axes({"tensor": 2}, 8) == ()
