"""Induction heads: small decoders of letters that repeat (Olsson et al. 2022, 2209.11895).

    python -m launch.train --config=configs/induction_heads.py:two_layers --workdir=runs/induction
    python -m launch.evaluate --workdir=runs/induction
    python -m launch.sample --workdir=runs/induction --prompt=taxitaxi --strategy=greedy

one_layer, two_layers: what follows is only told by what followed before, which takes two layers.
Two to four minutes of one core; papers/induction_heads has the figures. Each has a `_debug` form.
"""

from ml_collections import ConfigDict

from research.configuration import split_variant

VARIANTS = {"one_layer": 1, "two_layers": 2}
DEBUG = {
    "steps": 2,
    "steps_per_execution": 1,
    "data.batch_size": 8,
    "data.length": 20,
    "network.width": 8,
    "network.heads": 2,
    "optimizer.warmup_steps": 0,
    "checkpoint.every_steps": 1,
    "log.every_steps": 1,
    "sample.every_steps": 1,
    "sample.new_tokens": 8,
    "evaluate.batch_size": 10,
}


def get_config(variant: str = "two_layers") -> ConfigDict:
    """`one_layer` or `two_layers`; `VARIANT_debug` runs in seconds."""
    name, is_debug = split_variant(variant, VARIANTS, __file__)
    config = decoder(VARIANTS[name])
    if is_debug:
        config.update_from_flattened_dict(DEBUG)
    return config


def decoder(layers: int) -> ConfigDict:
    """Relative positions: a head can tell each of the fifteen letters before from the others."""
    return ConfigDict(
        dict(
            seed=0,
            steps=1250,
            steps_per_execution=10,
            data=dict(name="repeated_letters", length=100, period=25, batch_size=64),
            network=dict(
                name="transformer", width=64, layers=layers, heads=4, positions="relative"
            ),
            method=dict(name="language_model"),
            optimizer=dict(
                name="adamw", learning_rate=2e-3, warmup_steps=50, weight_decay=0.01, b2=0.98
            ),
            mesh=dict(data=-1, fsdp=1, tensor=1),
            checkpoint=dict(every_steps=500, keep=2),
            log=dict(every_steps=50),
            sample=dict(
                every_steps=500, count=4, prompt="thebigfoxthe", new_tokens=40, strategy="greedy"
            ),
            evaluate=dict(count=0, batch_size=100),  # its letters are no words to score
        )
    )
