"""Linear functions learned from a context, by no change of weights (2208.01066).

    python -m launch.train --config=configs/in_context_regression.py:linear --workdir=runs/linear
    python -m launch.evaluate --workdir=runs/linear

A decoder reads places and values of a function of 5 numbers, and tells its value at the next place;
papers/in_context_regression holds it against least squares. `linear_debug` is two steps.
"""

from ml_collections import ConfigDict

from research.configuration import split_variant

VARIANTS = ("linear",)
DEBUG = {
    "steps": 2,
    "steps_per_execution": 1,
    "data.batch_size": 8,
    "data.length": 6,
    "network.width": 8,
    "network.heads": 2,
    "optimizer.warmup_steps": 0,
    "checkpoint.every_steps": 1,
    "log.every_steps": 1,
}


def get_config(variant: str = "linear") -> ConfigDict:
    """`linear`, and `linear_debug`."""
    _, is_debug = split_variant(variant, VARIANTS, __file__)
    config = linear()
    if is_debug:
        config.update_from_flattened_dict(DEBUG)
    return config


def linear() -> ConfigDict:
    """Adam with a cosine; 16 places a function."""
    return ConfigDict(
        dict(
            seed=0,
            steps=6000,
            steps_per_execution=10,
            data=dict(name="linear_functions", length=16, batch_size=128),
            network=dict(name="transformer", length=16, width=64, layers=3, heads=4, tied=False),
            method=dict(name="step_regression"),
            optimizer=dict(
                name="adam", learning_rate=5e-4, schedule="cosine", warmup_steps=500, clip_norm=1.0
            ),
            mesh=dict(data=-1, fsdp=1, tensor=1),
            checkpoint=dict(every_steps=1000, keep=2),
            log=dict(every_steps=100),
            sample=dict(every_steps=0, count=0),
            evaluate=dict(count=0, batch_size=200),
        )
    )
