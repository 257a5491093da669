"""A kernel's cases against their floor, here or for a target that isn't."""

import itertools
import json
import pathlib
from collections.abc import Sequence

import jax

from kernels import compilers, report
from kernels.profile import (
    Row,
    cases_of,
    compiled,
    hand_written,
    kernel_names,
    markdown,
    measured,
    peers_of,
)
from kernels.targets import TARGETS
from research.errors import InputError, check_choice, nearest


def profile(kernel: str, target: str, shapes: list[str], *, rounds: int, peers: bool) -> list[Row]:
    """A row a case and backend; `target` is 'cpu', 'device' or a name of `TARGETS`.

    Raises InputError for a name that isn't there, for a compiler that isn't installed, and for
    peers of a kernel that has none there.
    """
    check(kernel, target)
    timed = target in ("cpu", "device")
    cases = cases_of(kernel, on_cpu=timed and jax.default_backend() == "cpu")
    for name in shapes:
        if name not in cases:
            raise InputError(f"{kernel} has no case {name!r} for {target}; {nearest(name, cases)}")
    platform = jax.default_backend() if timed else TARGETS[target].platform
    if peers and peers_of(kernel, platform) is None:
        raise InputError(f"--peers: {kernel} has none on a {platform.upper()}")
    chosen = {name: case for name, case in cases.items() if not shapes or name in shapes}
    if timed:
        return [
            row
            for name, case in chosen.items()
            for row in measured(kernel, name, case, rounds=rounds, peers=peers)
        ]
    check_hand_written([kernel], [target])
    return compiled(kernel, chosen, target, peers=peers)


def check(kernel: str, target: str) -> None:
    check_choice("kernel", kernel, kernel_names())
    if target == "cpu" and jax.default_backend() != "cpu":
        raise InputError("--target=cpu on a machine with an accelerator: set JAX_PLATFORMS=cpu")
    if target in ("cpu", "device"):
        return
    check_choice("target", target, ["cpu", "device", *TARGETS])
    if absent := compilers.missing(target):
        raise InputError(absent)


def check_hand_written(kernels: Sequence[str], chips: Sequence[str]) -> None:
    """Raises InputError where no compiler has anything to report on."""
    if not any(hand_written(*pair) for pair in itertools.product(kernels, chips)):
        raise InputError(f"{', '.join(kernels)} has no backend of its own for {', '.join(chips)}")


def write(rows: list[Row], path: pathlib.Path) -> str:
    """Keeps the rows as PATH.json and PATH.md; returns the table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(path.name + ".json").write_text(json.dumps(rows, indent=1) + "\n")
    table = markdown(rows)
    path.with_name(path.name + ".md").write_text(table)
    return table


def write_report(kernel: str | None, target: str | None, *, rounds: int) -> None:
    """Renews kernels/REPORT.md: a chip's part, this device's, or without `target` all chips'.

    Of one kernel, or of all.
    """
    kernels = [kernel] if kernel else kernel_names()
    chips = [target] if target else list(TARGETS)
    for name, chip in itertools.product(kernels, chips):
        check(name, chip)
    if target in ("cpu", "device"):
        report.write(report.measure_all(kernels, rounds=rounds))
    else:
        check_hand_written(kernels, chips)
        report.write(report.compile_all(kernels, chips))
