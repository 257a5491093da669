"""The norms as the compilers of chips that are not here see them."""

import pytest

from kernels.compilers import missing, report
from kernels.normalization.shapes import CASES
from kernels.targets import TARGETS

BACKENDS = {"tpu": "mosaic_tpu", "gpu": "triton"}
COMPILED = [name for name in CASES if not name.startswith("cpu_")]
# Layer norm's backward pass at 16384 holds five arrays of a row in float32, 320 KiB: more than the
# 256 KiB of registers of an NVIDIA multiprocessor.
TOO_WIDE = ("layer_residual_gradient_16384", "backward_kernel")
# Between its passes over a row a TPU's compiler keeps float32 that it would have to convert anew:
# a store each in slots that are free, at most this share of the bundles.
TPU_SPILLS = 0.6


@pytest.mark.aot
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", COMPILED)
def test_compiles_within_the_chip(name, target):
    if reason := missing(target):
        pytest.skip(reason)
    platform = TARGETS[target].platform
    found = report("normalization", name, BACKENDS[platform], target)
    assert "error" not in found, found["error"]
    assert len(found["kernels"]) == (2 if CASES[name].gradient else 1)
    for kernel in found["kernels"]:
        if platform == "tpu":
            assert kernel["spills"] <= TPU_SPILLS * kernel["bundles"], kernel
            continue
        assert kernel["shared"] <= kernel["shared_limit"], kernel
        wide = (name, kernel["name"]) == TOO_WIDE and target.startswith("gpu-sm")
        assert kernel["spills"] == 0 or wide, kernel
