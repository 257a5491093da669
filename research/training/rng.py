"""Random streams by (step, name): no chain of splits is carried, so resuming needs no key."""

import zlib

import jax

from research.training.types import Rng


def named(rng: Rng, name: str) -> Rng:
    """The stream `name` of `rng`; streams of different names are independent."""
    return jax.random.fold_in(rng, zlib.crc32(name.encode()))
