"""The calls of `attention` that tests, benchmarks, compilers and the tuner share."""

from typing import Any

import jax
import numpy as np

from kernels.attention.api import attention, band
from kernels.case import Case
from kernels.roofline import Work

# Of a query and a key that it sees; the backward pass makes q.k anew, once for all that needs it.
PRODUCTS = {"forward": 2, "dq": 3, "dkv": 2}


def case(
    batch: int,
    length: int,
    heads: int,
    size: int,
    *,
    key_heads: int | None = None,
    dtype: str = "bfloat16",
    gradient: bool = False,
    **settings: Any,
) -> Case:
    """Self-attention at these sizes."""
    key_heads = key_heads or heads
    q = jax.ShapeDtypeStruct((batch, length, heads, size), dtype)
    kv = jax.ShapeDtypeStruct((batch, length, key_heads, size), dtype)
    return Case(
        attention,
        (q, kv, kv),
        work(batch, length, heads, size, key_heads, q.dtype, gradient, **settings),
        settings,
        gradient=(0, 1, 2) if gradient else (),
    )


def work(
    batch: int,
    length: int,
    heads: int,
    size: int,
    key_heads: int,
    dtype: Any,
    gradient: bool,
    *,
    causal: bool = False,
    window: int | None = None,
    **_: Any,
) -> Work:
    """All `flops`. Forward reads q, k and v and writes the output; backward reads these and the
    output's gradient, and writes three.
    """
    shape, limits = (batch, length, heads, size), band(causal, window)
    phases = PRODUCTS if gradient else ["forward"]
    total = sum(flops(phase, shape, length, *limits) for phase in phases)
    moved = 2 * (heads + key_heads) * (1 + 2 * gradient)
    return Work(total, float(batch * length * size * moved * dtype.itemsize), dtype.name)


def flops(
    phase: str, shape: tuple[int, ...], keys: int, left: int | None, right: int | None
) -> float:
    """What a phase of `PRODUCTS` must do for queries of `shape` (B, T, H, D).

    Limits are those of `Settings`; what segments and biases hide, shapes don't tell.
    """
    batch, queries, heads, size = shape
    i = np.arange(queries)
    first = np.maximum(i - (queries if left is None else left), 0)
    last = np.minimum(i + (keys if right is None else right), keys - 1)
    pairs = int(np.maximum(last - first + 1, 0).sum())
    return 2.0 * PRODUCTS[phase] * batch * heads * pairs * size


CASES = {
    "forward_2048": case(1, 2048, 8, 128),
    "causal_2048": case(1, 2048, 8, 128, causal=True),
    "gradient_2048": case(1, 2048, 8, 128, gradient=True),
    "causal_gradient_2048": case(1, 2048, 8, 128, causal=True, gradient=True),
    "gpt2_1024": case(8, 1024, 12, 64, causal=True, gradient=True),
    "grouped_window_4096": case(1, 4096, 16, 128, key_heads=4, causal=True, window=1024),
    "softcap_d256_2048": case(1, 2048, 8, 256, causal=True, softcap=50.0),
    "cpu_2048": case(1, 2048, 8, 64, causal=True, dtype="float32"),
    "cpu_gradient_2048": case(1, 2048, 8, 64, causal=True, gradient=True, dtype="float32"),
    "cpu_gradient_8192": case(1, 8192, 8, 64, causal=True, gradient=True, dtype="float32"),
    "cpu_all_2048": case(1, 2048, 8, 64, gradient=True, dtype="float32"),
    "cpu_unet_196": case(128, 196, 8, 8, gradient=True, dtype="float32"),
    "cpu_unet_49": case(128, 49, 8, 8, gradient=True, dtype="float32"),
}
