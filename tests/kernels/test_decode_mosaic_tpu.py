"""Decode attention on a TPU in Pallas's interpreters, in blocks that each length has several of."""

import contextlib
import itertools

import jax
import jax.numpy as jnp
import pytest

from kernels.blocks import tried
from kernels.machine import interpreted
from tests.kernels.decode_suite import DecodeSuite, cache

SMALL = {
    **{f"dense d{size}": {"rows": 64, "fetches": 2} for size in (64, 128, 256)},
    **{f"paged d{size}": {"fetches": 2} for size in (64, 128, 256)},
}


class InSmallBlocks(DecodeSuite):
    backend = "mosaic_tpu"

    def run(self, op, *given, **settings):
        run = super().run
        with tried(SMALL):
            return jax.jit(lambda *given: run(op, *given, **settings))(*given)


class TestMosaicTpu(InSmallBlocks):
    interpreter = "plain"
