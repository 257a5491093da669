"""The calls of `sample` and `categorical` that tests, benchmarks and compilers share."""

from collections.abc import Callable
from typing import Any

import jax

from kernels.case import Case
from kernels.roofline import Work
from kernels.sampling.api import categorical, sample


def case(
    function: Callable[..., Any],
    batch: int,
    vocabulary: int,
    *,
    dtype: str = "float32",
    **settings: Any,
) -> Case:
    """One draw a row. The key is a raw one, two integers."""
    logits = jax.ShapeDtypeStruct((batch, vocabulary), dtype)
    key = jax.ShapeDtypeStruct((2,), "uint32")
    # Read once; what a filter repeats is its own cost.
    work = Work(flops(batch, vocabulary), float(batch * vocabulary * logits.dtype.itemsize))
    return Case(function, (logits, key), work, settings, draws={1: jax.random.key_data})


def flops(batch: int, vocabulary: int) -> float:
    """An exp, a sum and a comparison a token, 4 operations."""
    return 4.0 * batch * vocabulary


GPT2, LLAMA3 = 50257, 128256  # vocabularies

CASES = {
    "categorical_64": case(categorical, 64, GPT2),
    "gumbel_64": case(categorical, 64, GPT2, method="gumbel"),
    "plain_64": case(sample, 64, GPT2),
    "top_k_64": case(sample, 64, GPT2, top_k=50),
    "top_p_64": case(sample, 64, GPT2, top_p=0.9),
    "min_p_64": case(sample, 64, GPT2, min_p=0.05),
    "all_64": case(sample, 64, GPT2, temperature=0.8, top_k=1000, top_p=0.95, min_p=0.01),
    "all_bfloat16_8": case(
        sample, 8, LLAMA3, dtype="bfloat16", temperature=0.8, top_k=1000, top_p=0.95, min_p=0.01
    ),
    "bytes_1024": case(sample, 1024, 256, top_p=0.9),
}
