"""Grokking: division modulo 97, learned by heart first and understood long after (2201.02177).

    python -m launch.train --config=configs/grokking.py:division --workdir=runs/grokking
    python -m launch.evaluate --workdir=runs/grokking

The paper's small transformer and its AdamW: half of all 9,312 equations are shown, and the
accuracy of evaluate is of the others. papers/grokking draws the curve. 0.1 seconds a step on one
CPU core. `division_debug` is two steps.
"""

from ml_collections import ConfigDict

from research.configuration import split_variant

VARIANTS = ("division",)
DEBUG = {
    "steps": 2,
    "steps_per_execution": 1,
    "data.modulus": 11,
    "data.batch_size": 16,
    "network.width": 8,
    "network.heads": 2,
    "checkpoint.every_steps": 1,
    "log.every_steps": 1,
}


def get_config(variant: str = "division") -> ConfigDict:
    """`division`, and `division_debug`."""
    _, is_debug = split_variant(variant, VARIANTS, __file__)
    config = division()
    if is_debug:
        config.update_from_flattened_dict(DEBUG)
    return config


def division() -> ConfigDict:
    """Appendix A.1.2: AdamW at 1e-3, decay 1, b2 0.98, ten steps of warm-up, batches of 512."""
    return ConfigDict(
        dict(
            seed=0,
            steps=10_000,
            steps_per_execution=5,
            data=dict(name="modular_division", modulus=97, share=0.5, draw=0, batch_size=512),
            network=dict(
                name="transformer", width=128, layers=2, heads=4, activation="relu", tied=False
            ),
            method=dict(name="answer_classification"),
            optimizer=dict(
                name="adamw",
                learning_rate=1e-3,
                warmup_steps=10,
                weight_decay=1.0,
                decayed=".",
                b2=0.98,
            ),
            mesh=dict(data=-1, fsdp=1, tensor=1),
            checkpoint=dict(every_steps=500, keep=1),
            log=dict(every_steps=25),
            sample=dict(every_steps=0, count=0),
            evaluate=dict(count=0, batch_size=512),
        )
    )
