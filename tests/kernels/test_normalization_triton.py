"""The GPU's backend in Triton's interpreter."""

import jax.numpy as jnp
import pytest

from kernels.machine import interpreted
from kernels.normalization import rms_norm
from kernels.normalization.triton import key
from tests.kernels.normalization_suite import SHAPES, NormalizationSuite, arrays

# Few programs of several steps, the last of them past the end.
SIZES = {1, 200, *(shape[-1] for shape in SHAPES.values())}
FORWARD = {key("forward", n): {"rows": 8, "warps": 4} for n in SIZES}
BACKWARD = {key("backward", n): {"rows": 8, "warps": 4, "programs": 2} for n in SIZES}


class TestTriton(NormalizationSuite):
    backend = "triton"
    interpreter = "plain"
    blocks = FORWARD | BACKWARD
    narrow = "float16"


@pytest.mark.parametrize("norm", ["rms", "layer"])
@pytest.mark.parametrize("shape", [(37, 131), (530, 40), (3, 5000)])
def test_its_own_blocks(norm, shape):
    with interpreted():
        TestTriton().agree(norm, arrays(norm, shape, "sbr"))


def test_refusal_is_in_words():
    with interpreted(), pytest.raises(ValueError, match="triton: takes D of at most 16384"):
        rms_norm(jnp.zeros((2, 16385)), implementation="triton")
