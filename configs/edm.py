"""EDM (2206.00364): continuous-time diffusion, preconditioned, sampled by Heun's method.

python -m launch.train --config=configs/edm.py:digits --workdir=runs/edm

`sigma_data` is the paper's 0.5; the deviation of digits is 0.75, that of mnist 0.62.
"""

from ml_collections import ConfigDict

from configs import ddpm
from research.configuration import split_variant


def get_config(variant: str = "digits") -> ConfigDict:
    """`digits` or `mnist`: data, network, optimizer and `_debug` are those of configs/ddpm.py."""
    name, is_debug = split_variant(variant, VARIANTS, __file__)
    config = ddpm.VARIANTS[name]()
    config.method = ConfigDict(dict(name="edm", label_dropout=0.1))
    config.sample.update(solver="heun", steps=18)
    return ddpm.debug(config) if is_debug else config


VARIANTS = ("digits", "mnist")
