"""The TPU's backend in its interpreters: the plain one, and one that raises on races."""

import jax.numpy as jnp
import pytest

from kernels.blocks import tried
from kernels.machine import interpreted
from kernels.normalization import rms_norm
from kernels.normalization.mosaic_tpu import key
from tests.kernels.normalization_suite import SHAPES, NormalizationSuite, arrays

# Two groups a block; (37, 131) has two blocks, the last of them past the end.
SIZES = {1, 200, *(shape[-1] for shape in SHAPES.values())}
SMALL = {key(d, n): {"rows": 32, "group": 16} for d in ("forward", "backward") for n in SIZES}


class TestMosaicTpu(NormalizationSuite):
    backend = "mosaic_tpu"
    interpreter = "plain"
    blocks = SMALL


@pytest.mark.parametrize("norm", ["rms", "layer"])
@pytest.mark.parametrize("shape", [(37, 131), (64, 256), (1, 40)])
def test_races(norm, shape):
    """Where an unwritten byte is NaN, and a race or an access out of bounds raises."""
    with interpreted("races"), tried(SMALL):
        TestMosaicTpu().agree(norm, arrays(norm, shape, "sbr"))


@pytest.mark.parametrize("norm", ["rms", "layer"])
def test_its_own_blocks(norm):
    """Two blocks of several groups, the last past the end."""
    suite = TestMosaicTpu()
    with interpreted():
        suite.agree(norm, arrays(norm, (2100, 40), "sbr"))


def test_refusals_are_in_words():
    with interpreted(), pytest.raises(ValueError, match="mosaic_tpu: takes D of at most 16384"):
        rms_norm(jnp.zeros((2, 16385)), implementation="mosaic_tpu")
    with interpreted(), pytest.raises(ValueError, match="float16 is no dtype of a TPU"):
        rms_norm(jnp.zeros((2, 8), jnp.float16), implementation="mosaic_tpu")
