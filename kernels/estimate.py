"""A kernel's flops as a note in the jaxpr, which doesn't show what a kernel does."""

from collections.abc import Sequence
from typing import Any

import jax
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir

ESTIMATE = Primitive("kernel_estimate")
ESTIMATE.multiple_results = True


def estimated(arrays: Sequence[jax.Array], flops: float) -> list[jax.Array]:
    """`arrays`, the first a factor of products, as they are: a kernel takes them to `flops`.

    `product_flops` (kernels/roofline.py) reads it; to a compiler it is nothing.
    """
    return ESTIMATE.bind(*arrays, flops=flops)


def batched(arrays: Sequence[jax.Array], axes: Sequence[Any], *, flops: float) -> Any:
    (size, *_) = (x.shape[at] for x, at in zip(arrays, axes, strict=True) if at is not None)
    return estimated(arrays, size * flops), axes


ESTIMATE.def_impl(lambda *arrays, flops: list(arrays))
ESTIMATE.def_abstract_eval(lambda *arrays, flops: list(arrays))
mlir.register_lowering(ESTIMATE, lambda _, *arrays, flops: arrays)
batching.primitive_batchers[ESTIMATE] = batched
