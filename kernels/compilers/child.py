"""The process that compiles one case for one target: `python -m kernels.compilers.child JSON`."""

import importlib
import json
import sys
import tempfile
import time
from typing import Any


def main(asked: dict[str, Any]) -> dict[str, Any]:
    from kernels.targets import TARGETS

    platform = TARGETS[asked["target"]].platform
    compiler = importlib.import_module(f"kernels.compilers.{platform}")
    with tempfile.TemporaryDirectory() as directory:
        compiler.prepare(directory)  # before JAX starts

        from kernels.blocks import tried
        from kernels.machine import compiled_for
        from kernels.profile import backends_of, peers_of

        shapes = importlib.import_module(f"kernels.{asked['kernel']}.shapes")
        case = shapes.CASES[asked["case"]]
        if asked["backend"] not in backends_of(asked["kernel"]):
            case = case.by(peers_of(asked["kernel"], platform).PEERS[asked["backend"]])
        start = time.perf_counter()
        with compiled_for(asked["target"]) as target, tried(asked["blocks"]):
            kernels = compiler.compile_case(case, asked["backend"], target, directory)
    return {"kernels": kernels, "seconds": time.perf_counter() - start}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
