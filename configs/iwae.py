"""Importance weighted autoencoders (1509.00519): one stochastic layer, k samples.

python -m launch.train --config=configs/iwae.py:mnist --workdir=runs/iwae --config.method.k=5
"""

from ml_collections import ConfigDict

from configs import vae
from research.configuration import split_variant


def get_config(variant: str = "mnist") -> ConfigDict:
    """`mnist`, k = 50: data, network, optimizer and `_debug` are those of configs/vae.py."""
    name, is_debug = split_variant(variant, VARIANTS, __file__)
    config = vae.VARIANTS[name]()
    config.method.update(bound="importance", k=50)
    return vae.debug(config) if is_debug else config


VARIANTS = ("mnist",)
