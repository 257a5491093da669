"""Block sizes by the compilers' figures: no device is needed."""

import dataclasses
import functools
import importlib
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax

from kernels import compilers
from kernels.blocks import Blocks, keep, noting
from kernels.case import Case
from kernels.machine import compiled_for
from kernels.profile import cases_of, hand_written


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
    has the least work, fewest flops before fewest bytes, with the other keys' best so far. A
    backend's `candidates(key)` lists what is tried; each may take `seconds`. Ties go to the blocks
    that come first, and the ones in use come before all. A key of which no candidate compiles
    keeps what it has.
    """
    cases = cases_of(kernel, on_cpu=False)
    for backend in hand_written(kernel, target):
        module = importlib.import_module(f"kernels.{kernel}.{backend}")
        asked: dict[str, tuple[str, Blocks]] = {}
        works = {name: (case.work.flops, case.work.bytes) for name, case in cases.items()}
        for name in sorted(works, key=works.__getitem__, reverse=True):
            found = blocks_of(cases[name], backend, target)
            asked |= {key: (name, blocks) for key, blocks in found.items()}
        for key, (name, in_use) in asked.items():
            if keys and key not in keys:
                continue
            report = functools.partial(
                compilers.report, kernel, name, backend, target, seconds=seconds
            )
            candidates = [in_use, *(c for c in module.candidates(key) if c != in_use)]
            best = best_of(key, candidates, report, workers)
            if not best.refused:
                keep(f"kernels.{kernel}", backend, target, key, best.blocks)
            yield best


def blocks_of(case: Case, backend: str, target: str) -> dict[str, Blocks]:
    """The blocks in use by the keys that a case asks the backend for, none if it is refused.

    It is traced for the target, and not compiled.
    """
    with compiled_for(target), noting(backend) as blocks:
        try:
            jax.eval_shape(case.call(backend), *case.arrays)
        except ValueError:
            return {}
    return blocks


def best_of(
    key: str, candidates: Sequence[Blocks], report: Callable[..., dict[str, Any]], workers: int
) -> Trial:
    """The trial that is least in `Trial.order`, of candidates compiled `workers` at once."""

    def tried(blocks: Blocks) -> Trial:
        return Trial(key, blocks, report(blocks={key: blocks}))

    with ThreadPoolExecutor(workers) as pool:
        return min(pool.map(tried, candidates), key=lambda trial: trial.order)
