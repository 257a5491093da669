"""What every test has: programs compiled by an earlier test, and room in memory for its own."""

import os
import pathlib
from collections.abc import Iterator

import jax
import pytest

from launch.command import keep_compiled_programs

# Read when Triton kernels are imported. What compiles them does so in a process without it.
os.environ["TRITON_INTERPRET"] = "1"

keep_compiled_programs()


@pytest.fixture(autouse=True, scope="module")
def programs_leave_room() -> Iterator[None]:
    """Drops compiled programs when they hold half of a process's maps of memory.

    A program holds three or more of the 65530 that Linux grants, and without one XLA's compiler
    ends in a segmentation fault.
    """
    yield
    maps = pathlib.Path("/proc/self/maps")
    if maps.exists() and len(maps.read_bytes().splitlines()) > 2**15:
        jax.clear_caches()
