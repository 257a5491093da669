"""The least time that a computation can take: its work against a chip's rates."""

import collections
import dataclasses
import math
from typing import Any

import jax.numpy as jnp
from jax.extend.core import jaxprs_in_params

from kernels.targets import Target


@dataclasses.dataclass(frozen=True)
class Work:
    """What a computation must do: `flops`, and `bytes` with each array moved once in each pass.

    `dtype` is that of its products.
    """

    flops: float
    bytes: float
    dtype: str = "float32"

    @property
    def intensity(self) -> float:
        """Flops a byte."""
        return self.flops / self.bytes

    def floor(self, target: Target) -> tuple[float, str]:
        """Seconds on the target, and which wall it is: 'compute' or 'memory' (Williams 2009)."""
        compute = self.flops / target.rate(self.dtype)
        memory = self.bytes / target.bandwidth
        return max((compute, "compute"), (memory, "memory"))


def product_flops(jaxpr: Any) -> tuple[float, str]:
    """Flops of a jaxpr's matrix products, convolutions and kernels, and the dtype of most of them.

    A scan's body counts as often as it runs, and a share's on every device; a while loop's, whose
    trips are not known, once; of a condition's branches the largest. A kernel counts as its
    estimate says, which is a Pallas call's own or the note that stands before it
    (kernels/estimate.py).
    """
    by_dtype = flops_by_dtype(jaxpr)
    if not by_dtype:
        return 0.0, "float32"
    dtype, _ = by_dtype.most_common(1)[0]
    return float(by_dtype.total()), dtype


def flops_by_dtype(jaxpr: Any) -> collections.Counter[str]:
    found: collections.Counter[str] = collections.Counter()
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        if name in ("dot_general", "conv_general_dilated"):
            found[equation.invars[0].aval.dtype.name] += flops_of(equation)
            continue
        if name == "kernel_estimate":
            found[equation.invars[0].aval.dtype.name] += equation.params["flops"]
            continue
        if name == "pallas_call":
            estimate = equation.params.get("cost_estimate")
            # Places and segments are integers; the first of the others is a factor of a product.
            dtypes = [operand.aval.dtype for operand in equation.invars]
            floats = [dtype for dtype in dtypes if jnp.issubdtype(dtype, jnp.floating)]
            found[(floats or dtypes)[0].name] += estimate.flops if estimate else 0
            continue
        inner = [flops_by_dtype(each) for each in jaxprs_in_params(equation.params)]
        if name == "cond":
            inner = [max(inner, key=lambda branch: branch.total())]
        trips = equation.params["length"] if name == "scan" else 1
        if name == "shard_map":
            trips = equation.params["mesh"].size
        for body in inner:
            found.update({dtype: trips * flops for dtype, flops in body.items()})
    return found


def flops_of(equation: Any) -> int:
    """2 a multiplication: a product's are its output's size times the contracted ones.

    A convolution's are its output's size times the kernel's taps and input channels; zeros that a
    gradient of a stride puts between are not counted.
    """
    left, right = (variable.aval.shape for variable in equation.invars)
    size = math.prod(equation.outvars[0].aval.shape)
    if equation.primitive.name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        return 2 * size * math.prod(left[i] for i in contracted)
    numbers = equation.params["dimension_numbers"]
    out_features = right[numbers.rhs_spec[0]]
    zeros = math.prod(equation.params["lhs_dilation"])
    return 2 * size * math.prod(right) // (out_features * zeros)
