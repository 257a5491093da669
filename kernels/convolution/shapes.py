"""The calls of `conv3x3` that tests, benchmarks and the tuner share."""

import jax

from kernels.case import Case
from kernels.convolution.api import conv3x3
from kernels.roofline import Work


def case(
    batch: int, side: int, channels: int, outputs: int, *, stride: int = 1, gradient: bool = False
) -> Case:
    """float32 images of side x side; a side is divided by the stride."""
    out = side // stride
    x = jax.ShapeDtypeStruct((batch, side, side, channels), "float32")
    kernel = jax.ShapeDtypeStruct((3, 3, channels, outputs), "float32")
    once = 2.0 * batch * out**2 * outputs * 9 * channels
    moved = (1 + 2 * gradient) * (x.size + kernel.size) + (1 + gradient) * batch * out**2 * outputs
    return Case(
        conv3x3,
        (x, kernel),
        # The backward pass reads the output's gradient, x and the kernel, and writes the last two.
        Work((1 + 2 * gradient) * once, 4.0 * moved),
        {"stride": stride},
        gradient=(0, 1) if gradient else (),
    )


CASES = {
    "forward_32": case(64, 32, 64, 64),
    "gradient_32": case(64, 32, 64, 64, gradient=True),
    "gradient_16": case(64, 16, 128, 128, gradient=True),
    "gradient_8": case(64, 8, 256, 256, gradient=True),
    "halve_28": case(128, 28, 32, 32, stride=2, gradient=True),
    "unet_28": case(128, 28, 64, 64, gradient=True),
    "unet_14": case(128, 14, 64, 64, gradient=True),
}
