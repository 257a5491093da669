"""Triton passes decode attention's suite in its interpreter, over several splits and blocks."""

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
