"""What XLA's compiler for a Hopper that is not here says of Mosaic GPU kernels."""

import collections
import importlib
import os
import pathlib
import re
from typing import Any

from kernels.case import Case
from kernels.compilers.gpu import NVIDIA_MATRIX, loops
from kernels.compilers.loops import issued
from kernels.targets import Target

TOPOLOGIES = {"gpu-sm90": "h100"}  # beside this file: <name>.txtpb, as XLA prints a device
WARPS = 4  # of a warpgroup


def compile_case(case: Case, backend: str, target: Target, directory: str) -> list[dict[str, Any]]:
    """The figures of every Mosaic GPU kernel that the case launches, by Mosaic's own dumps.

    The cost counts the warps that multiply; what loads runs beside them.
    """
    import jax
    import triton
    from jax.experimental import topologies

    from kernels.mosaic_gpu_call import RECORDED

    name = TOPOLOGIES[target.name]
    topology = topologies.get_topology_desc(
        platform="cuda",
        topology_name=name,
        target_config=pathlib.Path(__file__).with_name(f"{name}.txtpb").read_text(),
        topology="1x1x1",
    )
    here = jax.sharding.SingleDeviceSharding(topology.devices[0])
    arrays = [jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here) for x in case.arrays]
    # Its import says where CUDA's tools are: after it, they are those that Triton brings.
    importlib.import_module("jax.experimental.mosaic.gpu")
    os.environ["MOSAIC_GPU_DUMP_TO"] = directory
    os.environ["MOSAIC_GPU_CUDA_ROOT"] = str(
        pathlib.Path(triton.__file__).parent / "backends/nvidia"
    )
    RECORDED.clear()
    traced = jax.jit(case.call(backend)).trace(*arrays)
    traced.lower(lowering_platforms=("cuda",)).compile()
    dumps = sorted(pathlib.Path(directory).glob("*.sass_ctrl"))
    return [figures(launch, dump, target) for launch, dump in zip(RECORDED, dumps, strict=True)]


def figures(launch: Any, dump: pathlib.Path, target: Target) -> dict[str, Any]:
    lines, jumps = parsed(dump.read_text())
    end = max(i for i, line in enumerate(lines) if line.startswith("EXIT"))
    # What stands after the end are waits that came back too early.
    multiply = [
        (first, last)
        for first, last in sorted(loops([(at, to) for at, to in jumps if at < end]))
        if any(NVIDIA_MATRIX.search(line) for line in lines[first:last])
    ]
    per_warp = issued(len(lines), multiply, list(launch.trips))
    usage = dump.with_suffix(".ptxas").read_text()
    shared = dump.with_suffix(".resources.txt").read_text()
    return {
        "name": launch.name,
        "grid": (launch.programs,),
        "programs": launch.programs,
        "warps": WARPS * (launch.multiplying + 1),
        "shared": number(r"smem_scratch_bytes=(\d+)", shared),
        "shared_limit": target.on_chip,
        "cost": per_warp * WARPS * launch.multiplying * launch.programs,
        "registers": number(r"Used (\d+) registers", usage),
        "stack": number(r"(\d+) bytes stack frame", usage),
        "spills": sum(bool(re.search(r"\b(?:STL|LDL)\b", line)) for line in lines),
        "matrix_instructions": dict(
            collections.Counter(m for line in lines for m in NVIDIA_MATRIX.findall(line))
        ),
        "instructions": len(lines),
    }


def parsed(code: str) -> tuple[list[str], list[tuple[int, int]]]:
    """nvdisasm's instructions, and the jumps among them (from, to)."""
    lines: list[str] = []
    places: dict[str, int] = {}
    for line in code.splitlines():
        if label := re.match(r"(\.L_x_\d+):", line):
            places[label[1]] = len(lines)
        elif instruction := re.search(r"/\*[0-9a-f]{4,}\*/\s+(.*\S)", line):
            lines.append(instruction[1])
    targets = ((i, re.search(r"\bBRA\b.*`\((\.L_x_\d+)\)", line)) for i, line in enumerate(lines))
    return lines, [(i, places[to[1]]) for i, to in targets if to]


def number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    assert found, pattern
    return int(found[1])
