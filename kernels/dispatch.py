"""Which backend of a kernel runs: a named one, the first of several, or the platform's own."""

import importlib
import importlib.util
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from kernels.machine import machine
from kernels.targets import TARGETS

type Implementation = str | Sequence[str]

# What kernels compute in; a backend may take fewer.
DTYPES = ("float32", "bfloat16", "float16")

# The best backend of a platform first; `reference` is for tests and is only run when it is named.
BY_PLATFORM = {
    "cpu": ("xla_cpu", "xla"),
    "tpu": ("mosaic_tpu", "xla"),
    "gpu": ("mosaic_gpu", "triton", "xla"),
}

# What runs on one platform alone, or on one chip of it (kernels/targets.py), or in an interpreter.
MADE_FOR = {"mosaic_tpu": "tpu", "mosaic_gpu": "gpu-sm90", "triton": "gpu"}

# What launches a backend's kernels where JAX alone does not: attention's backward pass on Hopper is
# Triton's.
PACKAGES = {"triton": "jax_triton", "mosaic_gpu": "jax_triton"}


def choose(
    package: str, backends: Sequence[str], implementation: Implementation, *call: Any
) -> ModuleType:
    """The module of the first backend of `implementation` that takes the call.

    A kernel's folder `package` has a module a backend. Its `refuses(*call)` says in words why it
    doesn't take these arguments, or is None. 'auto' tries `BY_PLATFORM` of the machine's platform,
    left to right. Raises ValueError for an unknown name, and one that lists every reason if all
    refuse.
    """
    reasons = []
    for name in names(backends, implementation):
        reason = wrong_machine(name)
        if reason is None:
            module = importlib.import_module(f"{package}.{name}")
            reason = module.refuses(*call)
            if reason is None:
                return module
        reasons.append(f"{name}: {reason}")
    raise ValueError(
        f"{package.removeprefix('kernels.')}: no implementation takes this call; "
        + "; ".join(reasons)
    )


def names(backends: Sequence[str], implementation: Implementation) -> list[str]:
    """The backends to try, in order."""
    if implementation == "auto":
        return [name for name in BY_PLATFORM[machine().platform] if name in backends]
    asked = [implementation] if isinstance(implementation, str) else list(implementation)
    for name in asked:
        if name not in backends:
            alone = ["auto"] if isinstance(implementation, str) else []
            allowed = ", ".join([*alone, *backends])
            raise ValueError(f"implementation {name!r} is unknown; allowed: {allowed}")
    if not asked:
        raise ValueError("implementation is an empty sequence; name at least one backend")
    return asked


def wrong_machine(name: str) -> str | None:
    """Why backend `name` can't run where the call is made, or None."""
    needs, here = MADE_FOR.get(name), machine()
    this = here.target.name if here.target else here.platform
    if here.interpreted:
        return None
    if needs in (None, here.platform, this):
        return None if here.recording else lacking(name)
    needed = needs if needs in TARGETS else needs.upper()
    return f"needs a {needed}, this is {this} (kernels.machine.interpreted() runs it)"


def lacking(name: str) -> str | None:
    """The package that backend `name` needs and that isn't here, or None."""
    package = PACKAGES.get(name)
    if package is None or importlib.util.find_spec(package):
        return None
    return f"needs the package {package} (pip install -e '.[cuda]')"
