"""Block sizes of a kernel's backends: the tuner's for a target, or the backend's default."""

import contextlib
import contextvars
import functools
import importlib.util
import json
import pathlib
import types
from collections.abc import Iterator, Mapping

from kernels.machine import machine

type Blocks = dict[str, int]

NONE: Mapping[str, Blocks] = types.MappingProxyType({})
TRIED: contextvars.ContextVar[Mapping[str, Blocks]] = contextvars.ContextVar("tried", default=NONE)
NOTED: contextvars.ContextVar[tuple[str, dict[str, Blocks]] | None] = contextvars.ContextVar(
    "noted", default=None
)


def chosen(package: str, backend: str, key: str, default: Blocks) -> Blocks:
    """The blocks of `key` ('forward d128', say) for the machine that is traced for.

    `package`'s folder keeps them in blocks.json: backend -> target -> key -> blocks. What it has
    no entry for is `default`.
    """
    target = machine().target
    table = read(package).get(backend, {}).get(target.name, {}) if target else {}
    blocks = TRIED.get().get(key) or table.get(key, default)
    noted = NOTED.get()
    if noted is not None and noted[0] == backend:
        noted[1][key] = blocks
    return blocks


@contextlib.contextmanager
def tried(blocks: Mapping[str, Blocks]) -> Iterator[None]:
    """Takes `blocks` by key in place of the table, for what is traced inside: the tuner's way."""
    token = TRIED.set(blocks)
    try:
        yield
    finally:
        TRIED.reset(token)


@contextlib.contextmanager
def noting(backend: str) -> Iterator[dict[str, Blocks]]:
    """What is chosen for what is traced inside, by key; not for another backend's part of it."""
    noted: dict[str, Blocks] = {}
    token = NOTED.set((backend, noted))
    try:
        yield noted
    finally:
        NOTED.reset(token)


@functools.cache
def read(package: str) -> dict[str, dict[str, dict[str, Blocks]]]:
    path = table_path(package)
    return json.loads(path.read_text()) if path.exists() else {}


def keep(package: str, backend: str, target: str, key: str, blocks: Blocks) -> None:
    """Writes one entry of the table."""
    read.cache_clear()
    table = read(package)
    table.setdefault(backend, {}).setdefault(target, {})[key] = blocks
    table_path(package).write_text(json.dumps(table, indent=1, sort_keys=True) + "\n")


def table_path(package: str) -> pathlib.Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.origin is not None
    return pathlib.Path(spec.origin).parent / "blocks.json"


def round_up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple


def largest_divisor(n: int, most: int) -> int:
    """The largest divisor of n that is at most `most`; 1 if `most` is less."""
    return max(m for m in range(1, n + 1) if n % m == 0 and m <= max(1, most))
