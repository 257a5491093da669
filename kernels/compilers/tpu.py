"""What libtpu's compiler says of Pallas kernels: VLIW bundles, spills, VMEM."""

import math
import os
import pathlib
import re
from typing import Any

from kernels.case import Case
from kernels.targets import Target

# The compiler's dumps of one HLO instruction, the last of each: a row a bundle of units in use, the
# bundles themselves, and the listing in which loops and memory are named.
DUMPS = {
    "table": "final_hlo-static-per-bundle-utilization",
    "bundles": "final_bundles",
    "listing": "post-ra",
}
DUMP = re.compile(r"^\d+-(?P<name>.+?)(\.x)?-\d+-(?P<kind>" + "|".join(DUMPS.values()) + r")\.txt$")
# `0x1d LB: >> { ... }`: a bundle's address, the mark of a loop's first bundle, and how many loops
# it stands in.
BUNDLE = re.compile(r"^\s*(?:0x)?[0-9a-f]+\s+(?P<mark>[A-Z]{2})?\s*:\s*(?P<depth>[> ]*)\{", re.M)
LOOP = re.compile(r"^\s*(?:loop: start=(\S+), step=(\S+), limit=(\S+)|// DoWhile loop)$", re.M)
VMEM = re.compile(r"^\s*#allocation.* space=vmem, size = (0x[0-9a-f]+)", re.M)
CUSTOM_CALL = re.compile(r"%(\S+) = .*custom_call_target=\"tpu_custom_call\"")


def prepare(directory: str) -> None:
    os.environ["LIBTPU_INIT_ARGS"] = f"--xla_jf_dump_to={directory} --xla_jf_dump_llo_text=true"


def compile_case(case: Case, backend: str, target: Target, directory: str) -> list[dict[str, Any]]:
    """The figures of every Pallas kernel in the case."""
    return compile_function(case.call(backend), case.arrays, target, directory)


def compile_function(
    function: Any, arrays: Any, target: Target, directory: str
) -> list[dict[str, Any]]:
    """The figures of every Pallas kernel in `function` of `arrays` (shapes and dtypes)."""
    import jax
    from jax.experimental import topologies
    from jax.sharding import (
        AbstractDevice,
        AbstractMesh,
        SingleDeviceSharding,
        use_abstract_mesh,
    )

    chips: Any = topologies.get_topology_desc(platform="tpu", topology_name=target.arch)
    device = chips.devices[0]
    sharding = SingleDeviceSharding(device)
    placed = [jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding) for x in arrays]
    # Kernels ask for the chip that they are traced for.
    chip = AbstractDevice(device.device_kind, device.num_cores, "tpu")
    with use_abstract_mesh(AbstractMesh((), (), abstract_device=chip)):
        traced = jax.jit(function).trace(*placed)
        compiled = traced.lower(lowering_platforms=("tpu",)).compile()
    grids = pallas_grids(traced.jaxpr.jaxpr)
    found = dumps(directory)
    return [
        {"name": name} | figures(found[call], grid)
        for call in CUSTOM_CALL.findall(compiled.as_text())
        for name, grid in [named_grid(call, grids)]
    ]


def dumps(directory: str) -> dict[str, dict[str, str]]:
    """`DUMPS` of every HLO instruction that was compiled, by its name."""
    kinds = {kind: name for name, kind in DUMPS.items()}
    found: dict[str, dict[str, str]] = {}
    for path in pathlib.Path(directory).iterdir():
        if match := DUMP.match(path.name):
            found.setdefault(match["name"], {})[kinds[match["kind"]]] = path.read_text()
    return found


def named_grid(call: str, grids: dict[str, tuple[int, ...]]) -> tuple[str, tuple[int, ...]]:
    """The kernel of XLA's call, in a derivative within the call's name (jvp_name_.1), and its grid.

    A kernel that was given no name is called after its jitted function.
    """
    named = [name for name in grids if name and name in call]
    if named:
        name = max(named, key=len)
        return name, grids[name]
    if len(grids) > 1:
        raise ValueError(
            f"which of {', '.join(map(str, grids))} is {call}? pallas_call takes a name"
        )
    return re.sub(r"\.\d+$", "", call), next(iter(grids.values()))


def figures(dump: dict[str, str], grid: tuple[int, ...]) -> dict[str, Any]:
    """Counts rows of the utilization table, which has SPILL and FILL columns, and what is run.

    A branch's bundles count as run on every step; `vmem` is bytes, both buffers of each block too.
    """
    head, body = dump["table"].split("== UTILIZATION:\n")
    columns = [column.strip() for column in head.splitlines()[1].split(",")]
    rows = [list(map(int, line.split())) for line in body.splitlines() if line.strip()]
    total = {column: sum(row[i] for row in rows) for i, column in enumerate(columns)}
    steps = bundle_steps(dump["bundles"], dump["listing"], math.prod(grid))
    return {
        "grid": grid,
        "bundles": len(rows),
        "bundle_steps": steps,
        "cost": steps,
        "spills": total["VSTORE:SPILL"],
        "fills": total["VLOAD:FILL"],
        "vmem": sum(int(size, 16) for size in VMEM.findall(dump["listing"])),
    }


def bundle_steps(bundles: str, listing: str, steps: int) -> int:
    """How many bundles are run: each one times the trips of the loops that it stands in.

    The first loop is the grid's, of `steps` trips on all cores together (the compiler's own count
    has the pipeline's filling in it, and is of one core). A grid whose trips are not known when it
    is compiled is a ValueError; another such loop, the compiler's copy of a last block that isn't
    whole, counts once.
    """
    trips = [
        -(-(int(limit) - int(start)) // int(step)) if step else 1
        for start, step, limit in LOOP.findall(listing)
    ]
    if steps > 1:
        trips[0] = steps
    upcoming = iter(trips)
    around: list[int] = []
    run = 0
    for bundle in BUNDLE.finditer(bundles):
        depth = bundle["depth"].count(">")
        if bundle["mark"] == "LB":
            around[depth - 1 :] = [next(upcoming)]
        run += math.prod(around[:depth])
    return run


def pallas_grids(jaxpr: Any) -> dict[str, tuple[int, ...]]:
    """The grid of every pallas_call in a jaxpr, by the kernel's name."""
    from jax.extend.core import jaxprs_in_params

    found: dict[str, tuple[int, ...]] = {}
    for equation in jaxpr.eqns:
        if equation.primitive.name == "pallas_call":
            found[equation.params["name"]] = tuple(equation.params["grid_mapping"].grid)
        for inner in jaxprs_in_params(equation.params):
            found |= pallas_grids(inner)
    return found
