"""A kernel's cases against their floor: measured where the device is, else what compilers say."""

import importlib
import importlib.util
import pathlib
import statistics
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
from jax.errors import JaxRuntimeError

from kernels import compilers
from kernels.case import Case
from kernels.dispatch import BY_PLATFORM, MADE_FOR
from kernels.measure import device_name, seconds_by_turns, this_machine
from kernels.targets import TARGETS, Target

type Row = dict[str, Any]


def kernel_names() -> list[str]:
    """Folders of kernels/ that have cases, 'attention.decode' for a folder in a folder."""
    root = pathlib.Path(__file__).parent
    return sorted(".".join(path.parent.relative_to(root).parts) for path in root.rglob("shapes.py"))


def cases_of(kernel: str, *, on_cpu: bool) -> dict[str, Case]:
    """The kernel's cases; a CPU has its own where any is named cpu_, else the same."""
    cases = importlib.import_module(f"kernels.{kernel}.shapes").CASES
    of_cpu = {name: case for name, case in cases.items() if name.startswith("cpu_")}
    if on_cpu and of_cpu:
        return of_cpu
    return {name: case for name, case in cases.items() if name not in of_cpu}


def backends_of(kernel: str) -> Sequence[str]:
    return importlib.import_module(f"kernels.{kernel}.api").BACKENDS


def hand_written(kernel: str, target: str) -> list[str]:
    """The kernel's backends for a chip of `TARGETS`, whose compiler reports on them."""
    made = (target, TARGETS[target].platform)
    return [name for name in backends_of(kernel) if MADE_FOR.get(name) in made]


def peers_of(kernel: str, platform: str) -> Any:
    """The page of others' functions of the same arguments on a platform, or None.

    Its `PEERS` are functions by name, `takes(name)` says whether they take a case.
    """
    page = f"kernels.{kernel}.peers_{platform}"
    return importlib.import_module(page) if importlib.util.find_spec(page) else None


def measured(kernel: str, name: str, case: Case, *, rounds: int, peers: bool) -> Iterator[Row]:
    """A row a backend (and peer) of the case on this machine, timed by turns."""
    platform = jax.default_backend()
    contestants = {
        backend: case.call(backend)
        for backend in BY_PLATFORM[platform]
        if backend in backends_of(kernel)
    }
    page = peers_of(kernel, platform) if peers else None
    if page is not None and page.takes(name):
        contestants |= {peer: case.by(call).call(()) for peer, call in page.PEERS.items()}
    arrays = case.draw()
    compiled, refused = {}, {}
    for backend, call in contestants.items():
        try:
            compiled[backend] = jax.jit(call).lower(*arrays).compile()
        except (ValueError, NotImplementedError, ImportError, JaxRuntimeError) as error:
            # A backend may not take the case, nor its memory, a peer not be installed: the row
            # says so.
            refused[backend] = str(error)
    times = seconds_by_turns(compiled, arrays, rounds=rounds)
    for backend in contestants:
        row = floor_row(kernel, name, case, backend, this_machine()) | {"device": device_name()}
        if backend in refused:
            yield row | {"error": refused[backend]}
            continue
        seconds = statistics.median(times[backend])
        memory = compiled[backend].memory_analysis()
        yield row | {
            "ms": 1000 * seconds,
            "ms_range": [1000 * min(times[backend]), 1000 * max(times[backend])],
            "times_floor": 1000 * seconds / row["floor_ms"],
            "temporary_bytes": memory.temp_size_in_bytes if memory else None,
        }


def compiled(
    kernel: str, cases: dict[str, Case], target: str, *, peers: bool = True, workers: int = 2
) -> list[Row]:
    """A row a kernel launch of every case (and of `peers`), from the target's compiler.

    `workers` cases are compiled at once.
    """
    chip = TARGETS[target]
    page = peers_of(kernel, chip.platform)
    jobs = []
    for name, case in cases.items():
        theirs = list(page.PEERS) if peers and page is not None and page.takes(name) else []
        backends = [*hand_written(kernel, target), *theirs]
        jobs += [(name, case, backend) for backend in backends]

    def rows(job: tuple[str, Case, str]) -> list[Row]:
        name, case, backend = job
        row = floor_row(kernel, name, case, backend, chip)
        found = compilers.report(kernel, name, backend, target)
        if "error" in found:
            return [row | {"error": found["error"]}]
        return [row | {"launch": launch.pop("name")} | launch for launch in found["kernels"]]

    with ThreadPoolExecutor(workers) as pool:
        return [row for of_job in pool.map(rows, jobs) for row in of_job]


def floor_row(kernel: str, name: str, case: Case, backend: str, target: Target) -> Row:
    """What the case must do, and the least time it can take on the target."""
    seconds, wall = case.work.floor(target)
    return {
        "kernel": kernel,
        "case": name,
        "backend": backend,
        "target": target.name,
        "flops": case.work.flops,
        "bytes": case.work.bytes,
        "intensity": case.work.intensity,
        "floor_ms": 1000 * seconds,
        "wall": wall,
    }


def markdown(rows: Sequence[Row]) -> str:
    """The rows as one table; a column is there if a row has it."""
    return table(list(dict.fromkeys(key for row in rows for key in row)), rows)


def table(columns: Sequence[str], rows: Sequence[Row]) -> str:
    """The columns of the rows in Markdown."""
    lines = [columns, ["---"] * len(columns)]
    lines += [[cell(row.get(column)) for column in columns] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {count}" for key, count in value.items())
    if isinstance(value, list | tuple):
        between = " to " if any(isinstance(item, float) for item in value) else " x "
        return between.join(cell(item) for item in value)
    return str(value)
