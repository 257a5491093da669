"""Triton passes decode attention's suite in its interpreter, over several splits and blocks."""

import jax
import jax.numpy as jnp

from kernels.attention.decode import triton
from kernels.attention.decode.api import Arrays, Settings
from kernels.blocks import tried
from tests.kernels.decode_suite import DecodeSuite

SMALL = {
    f"decode d{size}{dtype}": dict(block_k=16, split=64, num_warps=4, num_stages=1)
    for size in (64, 128, 256)
    for dtype in ("", " float32")
}


class TestTriton(DecodeSuite):
    backend = "triton"
    interpreter = "plain"

    def run(self, *given, **settings):
        with tried(SMALL):
            return super().run(*given, **settings)


def test_more_partial_outputs_than_an_int32_counts_are_refused():
    def refusal(length):
        q = jax.ShapeDtypeStruct((128, 128, 128), jnp.bfloat16)
        k = jax.ShapeDtypeStruct((128, 1, length, 128), jnp.bfloat16)
        lengths = jax.ShapeDtypeStruct((128,), jnp.int32)
        return triton.refuses(Arrays(q, k, k, lengths, None), Settings(1.0, None, None))

    assert (
        refusal(262_144) == "takes less than 2^31 numbers of stretches to combine, got 2147483648"
    )
    assert refusal(131_072) is None
