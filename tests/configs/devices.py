"""Trains a config on one simulated device and on eight, and writes every leaf of both states.

python -m tests.configs.devices CONFIG STEPS FOLDER
"""

import os
import pathlib
import sys

if __name__ == "__main__":
    config, steps, folder = sys.argv[1:]
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

    import jax
    import numpy as np
    from jax.sharding import Mesh

    from research.configuration import load_config
    from research.experiment import build

    asked = load_config(config)
    if "product_dtype" in asked.network:
        # bfloat16 sums depend on how they are split, and Adam makes a whole step of what a rounding
        # leaves of a gradient near zero.
        asked.network.product_dtype = "float32"
    experiment = build(asked)
    for count in (1, 8):
        devices = np.array(jax.devices()[:count]).reshape(count, 1, 1)
        mesh = Mesh(devices, experiment.mesh.axis_names, axis_types=experiment.mesh.axis_types)
        state = experiment.train(steps=int(steps), mesh=mesh)
        paths = jax.tree_util.tree_leaves_with_path(state)
        assert all(len(leaf.sharding.device_set) == count for _, leaf in paths)
        leaves = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in paths}
        np.savez(pathlib.Path(folder) / f"{count}.npz", **leaves)
