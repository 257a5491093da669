"""Attention's Triton kernels compiled for four GPUs: they fit, spill nothing, use matrix units."""

import os
import subprocess
import sys

import pytest

from kernels.compilers import missing, report

pytestmark = pytest.mark.aot

MATRIX = {
    "gpu-sm80": "HMMA",
    "gpu-sm90": "HGMMA",
    "gpu-sm100": "UTCHMMA",
    "gpu-gfx942": "v_mfma_f32",
}
# Between them every kernel, head size and kind of mask.
ATTENTION = ["causal_gradient_2048", "gpt2_1024", "grouped_window_4096", "softcap_d256_2048"]
DECODE = ["dense_2048", "window_8192", "d64_1024", "paged_8192"]

# All of jax-triton's way to a GPU: its lowering compiles the kernels to PTX within the module.
LOWERED = """
import jax
from jax.sharding import AbstractDevice, AbstractMesh, use_abstract_mesh
from kernels.attention.shapes import CASES
from kernels.machine import Machine, entered
from kernels.targets import TARGETS

case = CASES["causal_gradient_2048"]
h100 = AbstractMesh((), (), abstract_device=AbstractDevice("NVIDIA H100", 132, "gpu"))
with use_abstract_mesh(h100), entered(Machine("gpu", TARGETS["gpu-sm90"])):
    lowered = jax.jit(case.call("auto")).trace(*case.arrays).lower(lowering_platforms=("cuda",))
print(lowered.as_text().count("triton_kernel_call"))
"""


def figures(kernel, case, target):
    if why := missing(target):
        pytest.skip(why)
    found = report(kernel, case, "triton", target, seconds=300)
    assert "error" not in found, found["error"]
    return found["kernels"]


@pytest.mark.parametrize("target", MATRIX)
@pytest.mark.parametrize("case", ATTENTION)
def test_attention(case, target):
    launches = figures("attention", case, target)
    assert len(launches) == (3 if case in ("causal_gradient_2048", "gpt2_1024") else 1)
    for launch in launches:
        check(launch, MATRIX[target])


@pytest.mark.parametrize("target", MATRIX)
@pytest.mark.parametrize("case", DECODE)
def test_decode(case, target):
    """A decode step has few rows, less than Hopper's and Blackwell's wide instructions take."""
    (launch,) = figures("attention.decode", case, target)
    check(launch, "v_mfma_f32" if target == "gpu-gfx942" else "HMMA")


def check(launch, matrix):
    print(launch)
    assert launch["spills"] == 0, launch
    # A tile that doesn't fit compiles all the same.
    assert launch["shared"] <= launch["shared_limit"], launch
    assert any(name.startswith(matrix) for name in launch["matrix_instructions"]), launch


def test_jax_lowers_the_kernels_for_an_h100():
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    environment.pop("TRITON_INTERPRET", None)
    done = subprocess.run(
        [sys.executable, "-c", LOWERED], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 3
