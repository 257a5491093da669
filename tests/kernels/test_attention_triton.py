"""The Triton backend passes attention's suite in Triton's interpreter, over several blocks."""

import contextlib

import pytest

from kernels.blocks import tried
from tests.kernels.attention_suite import AttentionSuite, arrays

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

    @pytest.mark.parametrize("window", [(1, 33), (32, 31), (33, 1), (64, 30)], ids=str)
    def test_bands_that_end_at_a_block_or_beside_one(self, window):
        self.agree(arrays(batch=1, heads=1, queries=130, keys=161), window=window)
