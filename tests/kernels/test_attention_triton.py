"""The Triton backend passes attention's suite in Triton's interpreter, over several blocks."""

import contextlib

from kernels.blocks import tried
from tests.kernels.attention_suite import AttentionSuite

BLOCKS = dict(block_q=64, block_k=32, num_warps=4, num_stages=1)
SMALL = {
    f"{phase} d{size}{dtype}": BLOCKS
    for phase in ("forward", "dq", "dkv")
    for size in (64, 128, 256)
    for dtype in ("", " float32")
}


class TestTriton(AttentionSuite):
    backend = "triton"
    interpreter = "plain"

    @contextlib.contextmanager
    def inside(self):
        with super().inside(), tried(SMALL):
            yield
