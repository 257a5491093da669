"""kernels/REPORT.md: what the compilers say of every kernel, and what was timed where."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

import jax

from kernels.dispatch import BY_PLATFORM, MADE_FOR
from kernels.profile import (
    Row,
    cases_of,
    compiled,
    kernel_names,
    measured,
    table,
)
from kernels.targets import TARGETS

HERE = pathlib.Path(__file__).parent
FIGURES, PAGE = HERE / "report.json", HERE / "REPORT.md"
OURS = frozenset(name for backends in BY_PLATFORM.values() for name in backends)

HEADER = """# Kernels, compiled and timed

Every kernel, compiled ahead of time for chips that are not here, and timed on devices that were.
`.venv-aot/bin/python -m launch.profile --write_report` compiles, with `--target=device` it times
the device that is here, beside others' functions, by turns; `make setup-aot` makes that
environment, `make test-aot` holds this page to the compilers.

- **floor**: the least time a case can take on the chip, by its products or by its bytes from
  memory at a copy's rate; what a CPU's caches hold, or what is read alone, may take less.
- **over_ours**: a median over that of our first backend; **times_floor**: over the device's floor.
- **launch**: a kernel of the case, ours by a role's name, others' by their own; **error**: why
  there is no figure.
- **bundles**: a TPU kernel's VLIW instructions; **steps**: bundles run, each as often as the loops
  and the grid that it stands in; **fills**: values read back after a spill.
- **registers**: a GPU thread's, as a kernel starts; **shared**: a block's bytes beside what it may
  take; **matrix**: matrix instructions in the machine code.
- **spills**: instructions that move registers to memory and back.
"""
# Why kernels of a folder spill on a platform.
SPILLS = {
    ("attention", "tpu"): "at the edges of a band a few registers, in slots that are free: key "
    "blocks that spill nothing run 1.6 times the bundles; at head size 256 a query tile's sums are "
    "all there is room for",
    ("attention.decode", "tpu"): "the logits of a fetch, 512 rows of pages and some 2000 of one "
    "piece, fill the 64 registers and more between the two products; float32 factors are there "
    "as three of bfloat16 each",
    ("sampling", "gpu"): "ptxas stays at 64 or 80 of a thread's 255 registers and moves 2 to 8 "
    "values",
    ("normalization", "tpu"): "float32 values of rows, converted or normed, are kept between two "
    "passes, in slots that are free, in place of being made again",
    ("normalization", "gpu"): "layer norm's backward pass at D = 16384 holds five float32 arrays "
    "of a row, 320 KiB: more than a multiprocessor's 256 KiB of registers",
}
TIMED = ("case", "backend", "device", "ms", "over_ours", "times_floor", "temporary_bytes", "error")
TPU = ("case", "launch", "target", "grid", "bundles", "steps", "spills", "fills", "floor_us")
GPU = ("case", "launch", "target", "registers", "spills", "shared", "matrix", "floor_us")


def compile_all(kernels: Sequence[str], targets: Sequence[str]) -> list[Row]:
    return [
        row
        for kernel in kernels
        for target in targets
        for row in compiled(kernel, cases_of(kernel, on_cpu=False), target)
    ]


def measure_all(kernels: Sequence[str], *, rounds: int) -> list[Row]:
    """A row a case and backend, and a peer, timed on this machine's device."""
    on_cpu = jax.default_backend() == "cpu"
    return [
        row
        for kernel in kernels
        for name, case in cases_of(kernel, on_cpu=on_cpu).items()
        for row in measured(kernel, name, case, rounds=rounds, peers=True)
    ]


def write(rows: list[Row]) -> None:
    """Renews the page and its figures: rows of a kernel and chip take the place of the old."""
    renewed, old = {part(row) for row in rows}, read()
    place = next((i for i, row in enumerate(old) if part(row) in renewed), len(old))
    rows = old[:place] + rows + [row for row in old[place:] if part(row) not in renewed]
    text = page(rows)
    FIGURES.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")
    PAGE.write_text(text)


def part(row: Row) -> tuple[str, str, str | None]:
    """The kernel that the row is of, and a target's compiler or a device."""
    return row["kernel"], row["target"], row.get("device")


def read() -> list[Row]:
    return json.loads(FIGURES.read_text()) if FIGURES.exists() else []


def page(rows: list[Row]) -> str:
    """The report as Markdown, a section a kernel."""
    sections = [HEADER]
    for kernel in kernel_names():
        mine = [row for row in rows if row["kernel"] == kernel]
        timed = [row for row in mine if "device" in row]
        built = [row for row in mine if "device" not in row]
        tables = [
            (TIMED, [timed_row(row, timed) for row in timed]),
            (TPU, [tpu_row(row) for row in built if row["target"].startswith("tpu")]),
            (GPU, [gpu_row(row) for row in built if row["target"].startswith("gpu")]),
        ]
        sections += [f"## {kernel}\n", *(table(*each) for each in tables if each[1])]
        sections += [f"Spills on a {platform.upper()}: {why}.\n" for platform, why in spilt(mine)]
    return "\n".join(sections)


def spilt(rows: list[Row]) -> list[tuple[str, str]]:
    """The platforms on which kernels of ours spill, and why."""
    ours = [row for row in rows if "device" not in row and row["backend"] in MADE_FOR]
    found = {TARGETS[row["target"]].platform: reason(row) for row in ours if row.get("spills")}
    return [(platform, why) for platform, why in sorted(found.items()) if why]


def reason(row: Row) -> str | None:
    """Why the kernel spills on its platform, if it is said in `SPILLS`."""
    return SPILLS.get((row["kernel"], TARGETS[row["target"]].platform))


def timed_row(row: Row, timed: list[Row]) -> dict[str, Any]:
    """`over_ours`: its time over that of our first backend that takes the case."""
    same = [r for r in timed if (r["case"], r["device"]) == (row["case"], row["device"])]
    ours = [r["ms"] for r in same if r["backend"] in OURS and "ms" in r]
    over_ours = row["ms"] / ours[0] if "ms" in row and ours else None
    return common(row) | {"over_ours": over_ours}


def tpu_row(row: Row) -> dict[str, Any]:
    return common(row) | {"grid": row.get("grid"), "steps": row.get("bundle_steps")}


def gpu_row(row: Row) -> dict[str, Any]:
    shared = f"{row['shared']} of {row['shared_limit']}" if "shared" in row else None
    return common(row) | {"shared": shared, "matrix": row.get("matrix_instructions")}


def common(row: Row) -> dict[str, Any]:
    """A refused case has its error in place of the launch's name."""
    floor_us = f"{1000 * row['floor_ms']:.3g} ({row['wall']})"
    return row | {"launch": row.get("launch", row.get("error")), "floor_us": floor_us}
