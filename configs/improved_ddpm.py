"""Improved DDPM (2102.09672): cosine schedule, learned variance, the hybrid loss.

python -m launch.train --config=configs/improved_ddpm.py:digits --workdir=runs/improved
"""

from ml_collections import ConfigDict

from configs import ddpm
from research.configuration import split_variant


def get_config(variant: str = "digits") -> ConfigDict:
    """`digits` or `mnist`: data, network, optimizer and `_debug` are those of configs/ddpm.py."""
    name, is_debug = split_variant(variant, VARIANTS, __file__)
    config = ddpm.VARIANTS[name]()
    config.method.update(schedule="cosine", loss="hybrid")
    config.network.out_factor = 2
    config.sample.update(solver="ancestral", steps=50)
    return ddpm.debug(config) if is_debug else config


VARIANTS = ("digits", "mnist")
