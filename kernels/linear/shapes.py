"""The calls of `linear` that tests, benchmarks and the tuner share."""

import jax

from kernels.case import Case
from kernels.linear.api import linear
from kernels.roofline import Work


def case(rows: int, inputs: int, outputs: int, dtype: str) -> Case:
    """float32 arrays, products in `dtype`, with the gradients."""
    shapes = (rows, inputs), (inputs, outputs)
    x, kernel = (jax.ShapeDtypeStruct(shape, "float32") for shape in shapes)
    return Case(
        linear,
        (x, kernel),
        # Each of the three products reads two of the arrays and writes the third.
        Work(6.0 * rows * inputs * outputs, 12.0 * (x.size + kernel.size + rows * outputs), dtype),
        {"dtype": dtype},
        gradient=(0, 1),
    )


CASES = {
    f"{name}_{short}": case(*sizes, dtype)
    for name, sizes in {
        "up_128": (768, 128, 512),
        "down_128": (768, 512, 128),
        "up_768": (1024, 768, 3072),
        "down_768": (1024, 3072, 768),
    }.items()
    for short, dtype in {"f32": "float32", "bf16": "bfloat16"}.items()
}
