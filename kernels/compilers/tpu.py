"""What libtpu's compiler says of Pallas kernels: VLIW bundles, spills, VMEM."""

import math
import os
import pathlib
import re
from typing import Any

from kernels.case import Case
from kernels.targets import Target

UTILIZATION = re.compile(
    r"^\d+-(?P<name>.+?)(\.x)?-\d+-final_hlo-static-per-bundle-utilization\.txt$"
)
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
    from jax.sharding import SingleDeviceSharding

    chips = topologies.get_topology_desc(platform="tpu", topology_name=target.arch)
    sharding = SingleDeviceSharding(chips.devices[0])
    placed = [jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding) for x in arrays]
    traced = jax.jit(function).trace(*placed)
    compiled = traced.lower(lowering_platforms=("tpu",)).compile()
    grids = pallas_grids(traced.jaxpr.jaxpr)
    tables = utilization_tables(directory)
    return [
        {"name": base(call)} | figures(tables[call], grid_of(call, grids))
        for call in CUSTOM_CALL.findall(compiled.as_text())
    ]


def utilization_tables(directory: str) -> dict[str, str]:
    """The utilization table of every HLO instruction that was compiled, by its name."""
    found = {}
    for path in pathlib.Path(directory).iterdir():
        if match := UTILIZATION.match(path.name):
            found[match["name"]] = path.read_text()
    return found


def base(call: str) -> str:
    """A kernel's name without XLA's number of the call."""
    return re.sub(r"\.\d+$", "", call)


def grid_of(call: str, grids: dict[str, tuple[int, ...]]) -> tuple[int, ...]:
    """By the kernel's name, in a derivative within XLA's name of the call (jvp_name_.1).

    A kernel that was given none is called after its jitted function.
    """
    named = [name for name in grids if name in call]
    if named:
        return grids[max(named, key=len)]
    if len(grids) > 1:
        raise ValueError(
            f"which of {', '.join(map(str, grids))} is {call}? pallas_call takes a name"
        )
    return next(iter(grids.values()))


def figures(table: str, grid: tuple[int, ...]) -> dict[str, Any]:
    """Counts rows of the utilization table: a row a bundle, with SPILL and FILL columns."""
    head, body = table.split("== UTILIZATION:\n")
    columns = [column.strip() for column in head.splitlines()[1].split(",")]
    rows = [list(map(int, line.split())) for line in body.splitlines() if line.strip()]
    total = {column: sum(row[i] for row in rows) for i, column in enumerate(columns)}
    return {
        "grid": grid,
        "bundles": len(rows),
        "bundle_steps": len(rows) * math.prod(grid),
        "cost": len(rows) * math.prod(grid),
        "spills": total["VSTORE:SPILL"],
        "fills": total["VLOAD:FILL"],
    }


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
