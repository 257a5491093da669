"""kernels/REPORT.md is made of its figures, and the figures are what the compilers say today."""

import json
import os
import subprocess
import sys

import pytest

from kernels import report
from kernels.compilers import missing
from kernels.dispatch import MADE_FOR
from kernels.profile import cases_of, hand_written, kernel_names
from kernels.targets import TARGETS

ROWS = report.read()
PAIRS = [
    (kernel, target)
    for kernel in kernel_names()
    for target in TARGETS
    if hand_written(kernel, target)
]
TPUS = [name for name, chip in TARGETS.items() if chip.platform == "tpu"]
MATRIX = {
    "gpu-sm80": "HMMA",
    "gpu-sm90": "HGMMA",
    "gpu-sm100": "UTCHMMA",
    "gpu-gfx942": "v_mfma_f32",
}


def compiled_rows(kernel, target):
    """What the compiler of a target says of a kernel, its peers with it."""
    return [
        row
        for row in ROWS
        if (row["kernel"], row["target"]) == (kernel, target) and "device" not in row
    ]


def ours(kernel, target):
    """The rows of our kernels that take their case."""
    rows = [row for row in compiled_rows(kernel, target) if row["backend"] in MADE_FOR]
    return [row for row in rows if "no implementation takes this call" not in row.get("error", "")]


def test_the_page_is_made_of_the_figures():
    assert report.PAGE.read_text() == report.page(ROWS)


def test_work_and_floors_are_of_the_cases_as_they_stand():
    for row in ROWS:
        case = cases_of(row["kernel"], on_cpu=row["target"] == "cpu")[row["case"]]
        assert (row["flops"], row["bytes"]) == (case.work.flops, case.work.bytes)
        if "device" not in row:
            seconds, wall = case.work.floor(TARGETS[row["target"]])
            assert (row["floor_ms"], row["wall"]) == (1000 * seconds, wall)


def test_renewed_rows_take_the_olds_place(monkeypatch, tmp_path):
    monkeypatch.setattr(report, "FIGURES", tmp_path / "report.json")
    monkeypatch.setattr(report, "PAGE", tmp_path / "REPORT.md")
    old = [
        row for target in ("gpu-sm80", "gpu-sm90", "tpu-v5e") for row in ours("sampling", target)
    ]
    others = ours("attention.decode", "gpu-sm90")
    report.write(old + others)
    renewed = [row | {"spills": 9} for row in old if row["target"] == "gpu-sm90"]
    report.write(renewed)
    found = report.read()
    assert [row["target"] for row in found] == [row["target"] for row in old + others]
    assert [row for row in found if row["target"] == "gpu-sm90"] == renewed + others
    assert report.PAGE.read_text() == report.page(found)


def test_times_are_over_our_first_backend_that_takes_the_case(monkeypatch, tmp_path):
    monkeypatch.setattr(report, "FIGURES", tmp_path / "report.json")
    monkeypatch.setattr(report, "PAGE", tmp_path / "REPORT.md")
    timed = next(row for row in ROWS if "ms" in row)
    figures = ("ms", "ms_range", "times_floor", "temporary_bytes")
    refused = {key: value for key, value in timed.items() if key not in figures}
    rows = [
        refused | {"backend": "mosaic_gpu", "error": "head size"},
        timed | {"backend": "triton", "ms": 2.0},
        timed | {"backend": "a_peer", "ms": 3.0},
    ]
    assert [report.timed_row(row, rows)["over_ours"] for row in rows] == [None, 1.0, 1.5]
    assert report.timed_row(rows[2], [rows[0], rows[2]])["over_ours"] is None
    report.write(rows)
    assert "head size" in report.PAGE.read_text()


@pytest.mark.parametrize(("kernel", "target"), PAIRS)
def test_all_compiles_fits_and_spills_nothing_without_a_reason(kernel, target):
    rows = ours(kernel, target)
    assert rows, "run launch.profile --write_report"
    for row in rows:
        assert "error" not in row, row
        # A block that doesn't fit compiles all the same.
        assert row.get("shared", 0) <= row.get("shared_limit", 0), row
        assert row["spills"] == 0 or report.reason(row), row


@pytest.mark.parametrize("target", MATRIX)
def test_attention_runs_on_matrix_units(target):
    """A decode step has few rows, fewer than Hopper's and Blackwell's wide instructions take.

    AMD's alone take float32 in full precision.
    """
    of_decode = "v_mfma_f32" if target == "gpu-gfx942" else "HMMA"
    for kernel, wanted in (("attention", MATRIX[target]), ("attention.decode", of_decode)):
        cases = cases_of(kernel, on_cpu=False)
        for row in ours(kernel, target):
            takes = target == "gpu-gfx942" or cases[row["case"]].work.dtype != "float32"
            has_matrix = any(name.startswith(wanted) for name in row["matrix_instructions"])
            assert has_matrix == takes, row


@pytest.mark.parametrize("case", ["forward_2048", "causal_2048", "grouped_window_4096"])
def test_attention_on_hopper_issues_fewer_instructions_than_tritons(case):
    """What only loads isn't counted: less than a tenth."""
    (mine,), (tritons,) = (
        [r for r in ours("attention", "gpu-sm90") if (r["backend"], r["case"]) == (backend, case)]
        for backend in ("mosaic_gpu", "triton")
    )
    assert mine["cost"] < 0.9 * tritons["cost"]


@pytest.mark.parametrize("case", ["forward_2048", "causal_2048"])
@pytest.mark.parametrize("target", TPUS)
def test_attention_on_a_tpu_runs_fewer_bundles_than_its_peers(target, case):
    """Both count a skipped branch as run: half of a causal peer's count is still more than ours.

    tokamax's causal grid has as many steps as its mask says when it runs: they can't be counted.
    Ours spill nothing either, but for a few registers at a causal edge (`report.SPILLS`).
    """
    rows = {r["backend"]: r for r in compiled_rows("attention", target) if r["case"] == case}
    mine = rows.pop("mosaic_tpu")
    if case == "causal_2048":
        assert "error" in rows.pop("tokamax_tpu")
    assert len(rows) == (2 if case == "causal_2048" else 3)
    for peer in rows.values():
        assert mine["bundle_steps"] < peer["bundle_steps"] / (1 + (case == "causal_2048")), peer
        assert mine["spills"] <= (peer["spills"] if case == "forward_2048" else 15), peer


@pytest.mark.aot
@pytest.mark.parametrize(("kernel", "target"), PAIRS)
def test_the_figures_are_the_compilers(kernel, target):
    """Made again they are the same: a compiler's figures don't vary."""
    if why := missing(target):
        pytest.skip(why)
    found = report.compile_all([kernel], [target])
    assert json.loads(json.dumps(found)) == compiled_rows(kernel, target)


# All of the way to a GPU: jax-triton's lowering compiles the kernels to PTX within the module.
LOWERED = """
import jax
from jax.sharding import AbstractDevice, AbstractMesh, use_abstract_mesh
from kernels.attention.shapes import CASES
from kernels.machine import Machine, entered
from kernels.normalization import rms_norm
from kernels.targets import TARGETS

case = CASES["causal_gradient_2048"]
h100 = AbstractMesh((), (), abstract_device=AbstractDevice("NVIDIA H100", 132, "gpu"))
with use_abstract_mesh(h100), entered(Machine("gpu", TARGETS["gpu-sm90"])):
    lowered = jax.jit(case.call("auto")).trace(*case.arrays).lower(lowering_platforms=("cuda",))
    rows = jax.ShapeDtypeStruct((3, 8, 256), "float32")
    mapped = jax.jit(jax.vmap(rms_norm)).trace(rows).lower(lowering_platforms=("cuda",))
text = lowered.as_text()
print(text.count("@mosaic_gpu"), text.count("@triton_kernel_call"))
print(mapped.as_text().count("@triton_kernel_call"))
"""


@pytest.mark.aot
def test_jax_lowers_the_kernels_for_an_h100():
    """Attention with its gradient, and a norm under `vmap`."""
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    environment.pop("TRITON_INTERPRET", None)
    done = subprocess.run(
        [sys.executable, "-c", LOWERED], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", "2", "1"]
