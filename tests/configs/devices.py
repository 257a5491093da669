"""Trains a config on as many simulated devices as asked for, and writes every leaf of the state.

python -m tests.configs.devices CONFIG DEVICES STEPS OUT
"""

import os
import sys

if __name__ == "__main__":
    config, devices, steps, out = sys.argv[1:]
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"

    import jax
    import numpy as np

    from research.configuration import load_config
    from research.experiment import build

    experiment = build(load_config(config))
    assert experiment.mesh.size == int(devices)
    state = experiment.train(steps=int(steps))
    leaves = jax.tree_util.tree_leaves_with_path(state)
    np.savez(out, **{jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves})
