"""The calls of `attention` that tests, benchmarks, compilers and the tuner share."""

from typing import Any

import jax

from kernels.attention.api import attention
from kernels.case import Case
from kernels.roofline import Work


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
    """2 products a query and key that it sees; the backward pass has 5 more (it makes q.k anew).

    Forward reads q, k and v and writes the output; backward reads these and the output's gradient,
    and writes three.
    """
    reach = length if window is None else window
    after = 0 if causal else reach
    pairs = sum(min(i, reach) + min(length - 1 - i, after) + 1 for i in range(length))
    products = 2 + 5 * gradient
    flops = 2.0 * products * batch * heads * pairs * size
    moved = 2 * (heads + key_heads) * (1 + 2 * gradient)
    return Work(flops, float(batch * length * size * moved * dtype.itemsize), dtype.name)


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
