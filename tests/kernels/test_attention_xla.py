"""attention's xla backend, with the blocks it takes by itself and with small ones."""

from kernels.blocks import tried
from tests.kernels.attention_suite import AttentionSuite

DIRECTIONS = ("forward", "backward", "bias")


def blocks(queries, keys, logits):
    sizes = {"queries": queries, "keys": keys, "logits": logits}
    return {f"{way} d{size}": sizes for way in DIRECTIONS for size in (64, 128, 256)}


class TestXla(AttentionSuite):
    """Lengths of the suite are one block."""

    backend = "xla"


class TestSmallBlocks(AttentionSuite):
    """Many blocks, ragged ones among them, and one head of one sequence at a time."""

    backend = "xla"

    def inside(self):
        return tried(blocks(32, 48, 32 * 48))
