"""sample's kernels compile for TPUs and GPUs that are not here, without spills."""

import pytest

from kernels.compilers import missing, report
from kernels.sampling.shapes import CASES
from kernels.targets import TARGETS

KERNEL_CASES = [name for name, case in CASES.items() if "method" not in case.settings]
TPUS = [name for name, target in TARGETS.items() if target.platform == "tpu"]
GPUS = [name for name, target in TARGETS.items() if target.platform == "gpu"]


def compiled(case, backend, target):
    if reason := missing(target):
        pytest.skip(reason)
    figures = report("sampling", case, backend, target)
    assert "error" not in figures, figures
    (kernel,) = figures["kernels"]
    return kernel


@pytest.mark.aot
@pytest.mark.parametrize("target", TPUS)
@pytest.mark.parametrize("case", KERNEL_CASES)
def test_tpu(case, target):
    kernel = compiled(case, "mosaic_tpu", target)
    assert kernel["spills"] == 0 and kernel["fills"] == 0


@pytest.mark.aot
@pytest.mark.parametrize("target", GPUS)
@pytest.mark.parametrize("case", KERNEL_CASES)
def test_gpu(case, target):
    kernel = compiled(case, "triton", target)
    assert kernel["spills"] == 0 and kernel["stack"] == 0
    assert kernel["shared"] < kernel["shared_limit"]
