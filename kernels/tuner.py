"""Block sizes by the compilers' figures: no device is needed."""

import dataclasses
import importlib
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kernels import compilers
from kernels.blocks import Blocks, keep
from kernels.profile import cases_of, hand_written
from kernels.targets import TARGETS


@dataclasses.dataclass(frozen=True)
class Trial:
    """A candidate for a key, and what the compiler said of the case that it was tried on."""

    key: str
    blocks: Blocks
    report: dict[str, Any]

    @property
    def refused(self) -> bool:
        """Whether it doesn't compile in time, or doesn't fit the chip."""
        return "error" in self.report or any(
            launch.get("shared", 0) > launch.get("shared_limit", math.inf)
            for launch in self.report["kernels"]
        )

    @property
    def order(self) -> tuple[float, float, float]:
        """What is minimised, in this order: refusals, spills, cost."""
        launches = self.report.get("kernels", [])
        spills = sum(launch["spills"] for launch in launches)
        return self.refused, spills, sum(launch["cost"] for launch in launches)


def tune(
    kernel: str, target: str, *, keys: Sequence[str] = (), seconds: float, workers: int = 2
) -> Iterator[Trial]:
    """Yields the best trial of every key that the kernel's cases ask for, and keeps its blocks.

    `keys` are those to tune, all if it is empty. A key is tried on the case that asks for it and
    has the least work, with the other keys' best so far. A backend's `candidates(key)` lists what
    is tried; each may take `seconds`. Ties go to the blocks that come first, and the ones in use
    come before all. A key of which no candidate compiles keeps what it has.
    """
    for backend in hand_written(kernel, TARGETS[target].platform):
        module = importlib.import_module(f"kernels.{kernel}.{backend}")
        for key, case in cases_by_key(kernel, backend, target, seconds, workers).items():
            if keys and key not in keys:
                continue
            best = best_of(kernel, case, backend, target, key, module, seconds, workers)
            if not best.refused:
                keep(f"kernels.{kernel}", backend, target, key, best.blocks)
            yield best


def cases_by_key(
    kernel: str, backend: str, target: str, seconds: float, workers: int
) -> dict[str, str]:
    """The case with the least work of those that ask for a key."""
    cases = cases_of(kernel, on_cpu=False)

    def asked(name: str) -> dict[str, Any]:
        return compilers.report(kernel, name, backend, target, seconds=seconds)

    with ThreadPoolExecutor(workers) as pool:
        reports = dict(zip(cases, pool.map(asked, cases), strict=True))
    found: dict[str, str] = {}
    for name in sorted(cases, key=lambda name: -cases[name].work.flops):
        found |= dict.fromkeys(reports[name].get("blocks", {}), name)
    return found


def best_of(
    kernel: str,
    case: str,
    backend: str,
    target: str,
    key: str,
    module: Any,
    seconds: float,
    workers: int,
) -> Trial:
    in_use = compilers.report(kernel, case, backend, target, seconds=seconds)["blocks"][key]
    candidates = [in_use, *(blocks for blocks in module.candidates(key) if blocks != in_use)]

    def tried(blocks: Blocks) -> Trial:
        report = compilers.report(
            kernel, case, backend, target, blocks={key: blocks}, seconds=seconds
        )
        return Trial(key, blocks, report)

    with ThreadPoolExecutor(workers) as pool:
        return min(pool.map(tried, candidates), key=lambda trial: trial.order)
