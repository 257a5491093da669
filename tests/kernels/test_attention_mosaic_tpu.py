"""Attention on a TPU in Pallas's interpreters, in blocks so small that each call has several."""

import contextlib
import itertools

import jax

from kernels.blocks import tried
from kernels.machine import interpreted
from tests.kernels.attention_suite import AttentionSuite

SMALL = {"q": 128, "k": 128, "tile": 128, "chunk": 128}
PHASES = ("forward", "keys_gradient", "queries_gradient")
IN_SMALL_BLOCKS = {
    f"{phase} d{size}": SMALL for phase, size in itertools.product(PHASES, (64, 128, 256))
}


class TestMosaicTpu(AttentionSuite):
    backend = "mosaic_tpu"
    interpreter = "plain"

    def run(self, *given, **settings):
        run = super().run
        return jax.jit(lambda *given: run(*given, **settings))(*given)

    def inside(self):
        return in_small_blocks(self.interpreter)


@contextlib.contextmanager
def in_small_blocks(interpreter):
    with tried(IN_SMALL_BLOCKS), interpreted(interpreter):
        yield
