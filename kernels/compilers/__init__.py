"""Kernels compiled ahead of time for targets that are not here, each in a process of its own.

`report(...)` asks for one case; what comes back are the compiler's own figures.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from kernels.blocks import Blocks
from kernels.targets import TARGETS

NEEDS = {"tpu": ("libtpu",), "gpu": ("triton", "jax_cuda13_plugin")}


def report(
    kernel: str,
    case: str,
    backend: str,
    target: str,
    *,
    blocks: Mapping[str, Blocks] | None = None,
    seconds: float = 300,
) -> dict[str, Any]:
    """The compiler's figures of one case of kernels/<kernel>/shapes.py for `target`.

    {"kernels": [{"name", "grid", "cost", ...}], "seconds"}; the cost is what the tuner minimises. A
    TPU kernel has bundles, bundle_steps (bundles x trips of the grid and of loops: its cost),
    spills, fills and vmem bytes. A GPU kernel has registers, spills (loads and stores of them),
    shared and stack in bytes, matrix_instructions by name; its cost is the instructions that all
    warps issue (kernels/compilers/loops.py). {"error": line} if the compiler refuses or `seconds`
    pass. One target a process: a second in it gives false results.
    """
    asked = dict(kernel=kernel, case=case, backend=backend, target=target, blocks=blocks or {})
    # libtpu locks the machine for one process, which matters where there is a TPU.
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}
    environment["JAX_TRACEBACK_FILTERING"] = "off"  # its last line is not the error
    environment.pop("TRITON_INTERPRET", None)
    command = [sys.executable, "-m", "kernels.compilers.child", json.dumps(asked)]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        return {"error": f"took more than {seconds:g} s to compile"}
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return {"error": lines[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def missing(target: str) -> str | None:
    """What to install for the target's compiler, or None."""
    from importlib.util import find_spec

    absent = [name for name in NEEDS[TARGETS[target].platform] if find_spec(name) is None]
    hint = "`make setup-aot`, then .venv-aot/bin/python"
    return f"{target} needs {', '.join(absent)}: {hint}" if absent else None
