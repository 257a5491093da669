"""What Triton's compilers say of kernels: registers, spills, shared memory, matrix instructions."""

import collections
import math
import pathlib
import re
import subprocess
from typing import Any

from kernels.case import Case
from kernels.compilers.loops import Span, issued, trips
from kernels.targets import Target

TYPES = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16", "int32": "i32", "uint32": "u32"}
NVIDIA_MATRIX = re.compile(r"\b(HGMMA|HMMA|QGMMA|UTCHMMA|UTCQMMA|IMMA)\b")
AMD_MATRIX = re.compile(r"\b(v_s?mfma_\w+)")


def prepare(directory: str) -> None:
    """Triton needs nothing before JAX starts."""


def compile_case(case: Case, backend: str, target: Target, directory: str) -> list[dict[str, Any]]:
    """The figures of every kernel that the case launches, Mosaic GPU's before Triton's."""
    import jax

    from kernels.triton_call import RECORDED

    RECORDED.clear()
    jax.eval_shape(case.call(backend), *case.arrays)
    found = [figures(launch, target, directory) for launch in RECORDED]
    if backend == "mosaic_gpu":
        from kernels.compilers import mosaic_gpu

        found = mosaic_gpu.compile_case(case, backend, target, directory) + found
    return found


def figures(launch: Any, target: Target, directory: str) -> dict[str, Any]:
    compiled = compile_launch(launch, target)
    is_amd = target.arch.startswith("gfx")
    found, loops = amd(compiled) if is_amd else nvidia(compiled, directory)
    per_warp = issued(found["instructions"], loops, trips(compiled.asm["ttir"], launch.grid))
    return {
        "name": launch.kernel.fn.__name__,
        "grid": launch.grid,
        "programs": math.prod(launch.grid),
        "warps": launch.num_warps,
        "stages": launch.num_stages,
        "shared": compiled.metadata.shared,
        "shared_limit": target.on_chip,
        "cost": per_warp * launch.num_warps * math.prod(launch.grid),
        **found,
    }


def compile_launch(launch: Any, target: Target) -> Any:
    """Triton's compiled kernel; pointers are those of JAX's arrays, divisible by 16."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    names = launch.kernel.arg_names
    pointers = dict(zip(names, (f"*{TYPES[d]}" for d in launch.dtypes), strict=False))
    signature = {name: pointers.get(name, "constexpr") for name in names}
    source = ASTSource(
        fn=launch.kernel,
        signature=signature,
        constexprs=launch.constants,
        attrs={(i,): [["tt.divisibility", 16]] for i in range(len(pointers))},
    )
    if target.arch.startswith("gfx"):
        chip = GPUTarget("hip", target.arch, 64)
    else:
        chip = GPUTarget("cuda", int(target.arch.removeprefix("sm_")), 32)
    options = {"num_warps": launch.num_warps, "num_stages": launch.num_stages}
    return triton.compile(source, target=chip, options=options)


def nvidia(compiled: Any, directory: str) -> tuple[dict[str, Any], list[Span]]:
    """Figures and loops of the cubin, by the cuobjdump that Triton brings."""
    import triton

    cubin = pathlib.Path(directory) / "kernel.cubin"
    cubin.write_bytes(compiled.asm["cubin"])
    tool = pathlib.Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"

    def dump(flag: str) -> str:
        return subprocess.run(
            [tool, flag, cubin], capture_output=True, text=True, check=True
        ).stdout

    usage = dump("--dump-resource-usage")
    number = {k: int(v) for k, v in re.findall(r"\b(REG|STACK|LOCAL):(\d+)", usage)}
    code = dump("-sass")
    lines = re.findall(r"^\s+/\*([0-9a-f]{4,})\*/\s+(.*?);", code, re.M)
    places = {int(address, 16): i for i, (address, _) in enumerate(lines)}
    end = max(i for i, (_, line) in enumerate(lines) if line.strip() == "EXIT")
    jumps = [  # what stands after the end are waits that came back too early
        (i, places[int(to[1], 16)])
        for i, (_, line) in enumerate(lines[:end])
        if (to := re.search(r"\bBRA\b.*\b0x([0-9a-f]+)", line))
    ]
    return {
        "registers": number["REG"],
        "stack": number["STACK"],
        "spills": len(re.findall(r"\b(?:STL|LDL)\b", code)),
        "matrix_instructions": dict(collections.Counter(NVIDIA_MATRIX.findall(code))),
        "instructions": len(lines),
    }, loops(jumps)


def amd(compiled: Any) -> tuple[dict[str, Any], list[Span]]:
    """Figures of the assembly's own resource notes, and its loops."""
    code = compiled.asm["amdgcn"]
    number = {k: int(v) for k, v in re.findall(r"^\s*\.(\w+):\s+(\d+)\s*$", code, re.M)}
    places, jumps, instructions = {}, [], 0
    for line in code.splitlines():
        if label := re.match(r"(\.LBB\w+):", line):
            places[label[1]] = instructions
        elif re.match(r"\t[a-z]\w+", line):
            to = re.match(r"\ts_c?branch\w*\s+(\.LBB\w+)", line)
            if to and to[1] in places:
                jumps.append((instructions, places[to[1]]))
            instructions += 1
    return {
        "registers": number["vgpr_count"],
        "stack": number["private_segment_fixed_size"],
        "spills": number["vgpr_spill_count"] + number["sgpr_spill_count"],
        "matrix_instructions": dict(collections.Counter(AMD_MATRIX.findall(code))),
        "instructions": instructions,
    }, loops(jumps)


def loops(jumps: list[Span]) -> list[Span]:
    """Jumps (from, to) that go back, as (first, last); those of a few instructions only wait."""
    return [(to, at) for at, to in jumps if at - to > 16]
