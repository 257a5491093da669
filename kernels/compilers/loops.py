"""How many instructions a GPU kernel issues: its machine code, with the trips of its loops.

A static figure: it knows of masked work, of index arithmetic and of blocks too small for it, and
nothing of latency, caches, or of a matrix instruction's length. It compares blocks of one kernel.
"""

import operator
import re
from collections.abc import Callable
from typing import Any

import numpy as np

type Span = tuple[int, int]

FOR = re.compile(r"scf\.for %\S+ = (%\S+) to (%\S+) step (%\S+)")
CONSTANT = re.compile(r"^(%\S+) = arith\.constant (-?\d+) : i\d+$")
PROGRAM = re.compile(r"^(%\S+) = tt\.get_program_id ([xyz]) : i32$")
BINARY = re.compile(r"^(%\S+) = arith\.(\w+) (%[^, ]+), (%[^, ]+) : i\d+$")
WIDENED = re.compile(r"^(%\S+) = arith\.(?:extsi|trunci) (%\S+) : ")
OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "addi": operator.add,
    "subi": operator.sub,
    "muli": operator.mul,
    "divsi": lambda a, b: a // np.maximum(b, 1),
    "remsi": lambda a, b: a % np.maximum(b, 1),
    "minsi": np.minimum,
    "maxsi": np.maximum,
}
SAMPLED = 512


def issued(instructions: int, loops: list[Span], found: list[float]) -> float:
    """Instructions that a warp of the mean program issues.

    `loops` are the machine code's, as first and last instruction. `found` are the trips of the
    source's, in order: the same loops, less the ones that run once and those that the assembler
    made besides, the shortest. Where it made fewer, each is given the most trips of any.
    """
    if len(loops) != len(found):
        found = [count for count in found if count != 1]
    longest = sorted(loops, key=lambda span: span[0] - span[1])[: len(found)]
    loops = sorted(longest, key=lambda span: (span[0], -span[1]))
    if len(loops) != len(found):
        found = [max(found, default=1.0)] * len(loops)
    times = np.ones(instructions)
    for (first, last), count in zip(loops, found, strict=True):
        times[first : last + 1] = count
    return float(times.sum())


def trips(ttir: str, grid: tuple[int, ...]) -> list[float]:
    """How often the body of each loop runs in the mean program, outer loops first."""
    size = int(np.prod(grid))
    programs = np.unique(np.linspace(0, size - 1, min(size, SAMPLED)).astype(np.int64))
    values: dict[str, Any] = {}
    found, around = [], [np.ones(programs.shape)]
    for line in re.sub(r"( loc\(.*)$", "", ttir, flags=re.M).splitlines():
        line = line.strip()
        if line.startswith("}") and len(around) > 1:
            around.pop()
        if line.endswith("{"):
            match = FOR.search(line)
            around.append(around[-1] * (count(values, *match.groups()) if match else 1))
            if match:
                found.append(float(around[-1].mean()))
        else:
            note(line, values, programs, grid)
    return found


def count(values: dict[str, Any], start: str, stop: str, step: str) -> Any:
    """Trips of one loop; bounds that come from memory are not known, and then it is 1."""
    if not {start, stop, step} <= values.keys():
        return 1
    return np.maximum(-((values[start] - values[stop]) // values[step]), 0)


def note(line: str, values: dict[str, Any], programs: np.ndarray, grid: tuple[int, ...]) -> None:
    """Adds to `values` the integer that the line makes, for every program."""
    if match := CONSTANT.match(line):
        values[match[1]] = int(match[2])
    elif match := PROGRAM.match(line):
        axis = "xyz".index(match[2])
        below = int(np.prod(grid[:axis]))
        values[match[1]] = programs // below % (*grid, 1, 1)[axis]
    elif (match := WIDENED.match(line)) and match[2] in values:
        values[match[1]] = values[match[2]]
    elif (match := BINARY.match(line)) and match[2] in OPERATIONS:
        known = [values[name] for name in (match[3], match[4]) if name in values]
        if len(known) == 2:
            values[match[1]] = OPERATIONS[match[2]](*known)
        elif known and match[2] in ("minsi", "maxsi"):  # a limit from memory: taken not to bind
            values[match[1]] = known[0]
