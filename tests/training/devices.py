"""Trains the regression on as many simulated devices as asked for, and prints what came out.

python -m tests.training.devices DEVICES FSDP STEPS STEPS_PER_EXECUTION ON_DEVICES DIRECTORY
"""

import json
import os
import pathlib
import sys

if __name__ == "__main__":
    devices, fsdp, steps, at_once, on_devices = (int(argument) for argument in sys.argv[1:6])
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"

    import jax
    import numpy as np

    from research.training.checkpoints import Checkpoints
    from research.training.sharding import make_mesh
    from tests.training.regression import fit

    checkpoints = Checkpoints(pathlib.Path(sys.argv[6]), keep=1)
    state = fit(
        steps=steps,
        steps_per_execution=at_once,
        on_devices=bool(on_devices),
        mesh=make_mesh(fsdp=fsdp),
        rules=[("/w$", [None, "fsdp"])],
        checkpoints=checkpoints,
    )
    checkpoints.close()
    weights = state.params["model"]["w"]
    print(
        json.dumps(
            {
                "devices": jax.device_count(),
                "shard": weights.addressable_shards[0].data.shape,
                "step": int(state.step),
                "leaves": [np.asarray(leaf).tolist() for leaf in jax.tree.leaves(state)],
            }
        )
    )
