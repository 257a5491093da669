"""The manifest: what a reader needs to repeat a run, written beside its results."""

import functools
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import jax

from research.errors import InputError
from research.files import write_text

PACKAGES = (
    *("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "tensorflow-datasets"),
    *("numpy", "scikit-learn"),
)
ORIGIN = ("command", "git", "python", "packages", "devices", "xla_flags")  # who trained
TREE = pathlib.Path(__file__).parents[2]
# A measurement writes these itself; they don't make its code another.
OUTCOMES = (":!papers/*/results.json", ":!*.md")


def manifest(
    *, config: Mapping[str, Any], seed: int, data_hashes: Mapping[str, str]
) -> dict[str, Any]:
    """Command, resolved config, git commit, package versions, data hashes, devices and flags."""
    return {
        "command": [sys.executable, *sys.orig_argv[1:]],
        "config": dict(config),
        "seed": seed,
        "git": git_state(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "data_sha256": dict(data_hashes),
        "devices": [device.device_kind for device in jax.devices()],
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


@functools.cache
def git_state() -> dict[str, Any]:
    """The commit of this tree and whether its code is dirty; both None outside a checkout.

    As the first call of the process finds them: that code is at work, whatever is committed later.
    """
    try:
        commit = _git("rev-parse", "HEAD")
        return {
            "commit": commit,
            "dirty": bool(_git("status", "--porcelain", "--", ".", *OUTCOMES)),
        }
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(TREE), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes whole or not at all: a reader never sees half a file."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def read_json(path: pathlib.Path) -> Any:
    """What `write_json` wrote. Raises InputError: it is damaged."""
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path} is damaged: {error}") from error
