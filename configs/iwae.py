"""Importance weighted autoencoders (1509.00519): one stochastic layer, k samples.

python -m launch.train --config=configs/iwae.py:mnist --workdir=runs/iwae --config.method.k=5
"""

from ml_collections import ConfigDict

from configs import vae
from research.configuration import split_variant


def get_config(variant: str = "mnist") -> ConfigDict:
    """`mnist`, k = 50: data, network, optimizer and `_debug` are those of configs/vae.py.

    At batches of 20, 10 epochs take 12 minutes of one core and reach 94.7 nats, k = 1 101.3
    (papers/iwae).
    """
    name, is_debug = split_variant(variant, VARIANTS, __file__)
    config = vae.VARIANTS[name]()
    config.method.update(bound="importance", k=50)
    return vae.debug(config) if is_debug else config


VARIANTS = ("mnist",)
