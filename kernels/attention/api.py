"""`attention`: its arguments' checks, the choice of a backend, and the one custom gradient."""

import dataclasses
import functools
import math
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kernels.dispatch import DTYPES, Implementation, choose
from kernels.shares import on_shares

HIDES = -1e30  # a bias; no backend starts from a greater maximum

BACKENDS = ("reference", "xla", "mosaic_tpu", "mosaic_gpu", "triton")


class Arrays(NamedTuple):
    """H is a multiple of K: query head h reads key head h // (H / K). Segments are int32."""

    q_BxTxHxD: jax.Array
    k_BxSxKxD: jax.Array
    v_BxSxKxD: jax.Array
    bias_bxhxtxs: jax.Array | None  # each size 1 or the full one
    q_segments_BxT: jax.Array | None
    k_segments_BxS: jax.Array | None


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is known when the kernel is made. Query i sees keys i - left to i + right, both in.

    None is no limit. Logits are softcap * tanh(scale * q.k / softcap) + bias.
    """

    scale: float
    softcap: float | None
    left: int | None
    right: int | None


def attention(
    q_BxTxHxD: jax.Array,
    k_BxSxKxD: jax.Array,
    v_BxSxKxD: jax.Array,
    *,
    causal: bool = False,
    window: int | tuple[int | None, int | None] | None = None,
    segment_ids: jax.Array | tuple[jax.Array, jax.Array] | None = None,
    bias: jax.Array | None = None,
    softcap: float | None = None,
    scale: float | None = None,
    implementation: Implementation = "auto",
) -> jax.Array:
    """softmax(logits) v over keys, (B, T, H, D), differentiable in q, k, v and bias.

    logits = softcap * tanh(scale * q.k / softcap) + bias, in float32; `scale` is 1 / sqrt(D) unless
    given; without `softcap` there is no tanh. Query i sees key j if j <= i (`causal`; with T != S
    positions count from 0 on both sides), i - left <= j <= i + right (`window`, (left, right) or
    one number for both, None for no limit), and they are of one segment (`segment_ids`, integers
    (B, T), or a pair (B, T), (B, S)). `bias` broadcasts to (B, H, T, S); -1e30 or less hides a key,
    as -inf does. H may be a multiple of K: consecutive query heads share a key head. A query that
    sees no key gets 0, and its gradients are 0. Gradients are made of the logits' log-sum-exp in
    float32: where all that a query sees has logits beyond 1e5, they are less exact than the value.

    `implementation` is 'auto', a name of `BACKENDS` or a sequence of names, of which the first runs
    that takes the call. Raises ValueError for arguments that don't fit, naming the argument.
    FlashAttention-2 (2307.08691).
    """
    arrays, settings = checked(
        q_BxTxHxD, k_BxSxKxD, v_BxSxKxD, causal, window, segment_ids, bias, softcap, scale
    )
    backend = choose("kernels.attention", BACKENDS, implementation, arrays, settings)
    return differentiable(backend, settings, arrays)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def differentiable(backend: ModuleType, settings: Settings, arrays: Arrays) -> jax.Array:
    """`backend.forward`'s output; its gradient is `backend.backward`."""
    return forward(backend, settings, arrays)[0]


def forward(backend: ModuleType, settings: Settings, arrays: Arrays) -> tuple[jax.Array, Any]:
    out_BxTxHxD, lse_BxHxT = on_shares(
        backend,
        lambda arrays: backend.forward(arrays, settings),
        arrays,
        batch=len(arrays.q_BxTxHxD),
        split=(of_batch(arrays),),
        split_out=True,
    )
    return out_BxTxHxD, (arrays, out_BxTxHxD, lse_BxHxT)


def backward(
    backend: ModuleType, settings: Settings, kept: Any, dout_BxTxHxD: jax.Array
) -> tuple[Arrays]:
    arrays, out_BxTxHxD, lse_BxHxT = kept
    split = of_batch(arrays)
    gradients = on_shares(
        backend,
        lambda arrays, *rest: backend.backward(arrays, settings, *rest),
        *(arrays, out_BxTxHxD, lse_BxHxT, dout_BxTxHxD),
        batch=len(arrays.q_BxTxHxD),
        split=(split, True, True, True),
        split_out=split[:4],
    )
    return (Arrays(*gradients, *map(no_gradient, arrays[4:])),)


def of_batch(arrays: Arrays) -> Arrays:
    """Whether an array has a part for each sequence: all but a bias that sequences share."""
    return jax.tree.map(lambda array: len(array) == len(arrays.q_BxTxHxD), arrays)


def visible(bias: jax.Array) -> jax.Array:
    """-inf where the bias hides the key."""
    return jnp.where(bias <= HIDES, -jnp.inf, bias)


def no_gradient(array: jax.Array | None) -> Any:
    return None if array is None else np.zeros(array.shape, jax.dtypes.float0)


differentiable.defvjp(forward, backward)


def checked(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    causal: bool,
    window: Any,
    segment_ids: Any,
    bias: jax.Array | None,
    softcap: float | None,
    scale: float | None,
) -> tuple[Arrays, Settings]:
    """The arguments of `attention` as its backends take them; ValueError names what doesn't fit."""
    check_shapes(q, k, v)
    (batch, queries, heads, size), keys = q.shape, k.shape[1]
    scale, softcap = scaling(scale, softcap, size)
    if bias is not None:
        if bias.dtype.name not in DTYPES:
            raise ValueError(f"bias must be of {', '.join(DTYPES)}, got {bias.dtype}")
        full = (batch, heads, queries, keys)
        bias = jnp.reshape(bias, (1,) * (4 - bias.ndim) + bias.shape) if bias.ndim < 4 else bias
        if bias.ndim > 4 or any(n not in (1, m) for n, m in zip(bias.shape, full, strict=False)):
            raise ValueError(f"bias must broadcast to (B, H, T, S) = {full}, got {bias.shape}")
    # What reaches beyond all keys is no limit, and may be more than an int32 holds.
    reach = max(queries, keys)
    left, right = (None if n is None or n >= reach else int(n) for n in band(causal, window))
    q_segments, k_segments = segments(segment_ids, (batch, queries), (batch, keys))
    return Arrays(q, k, v, bias, q_segments, k_segments), Settings(scale, softcap, left, right)


def scaling(scale: float | None, softcap: float | None, size: int) -> tuple[float, float | None]:
    """`scale`, 1 / sqrt(size) unless given, and `softcap`: Python's floats, which compilers take.

    Raises:
      ValueError: one isn't finite, or softcap isn't positive.
    """
    scale = 1 / math.sqrt(size) if scale is None else float(scale)
    if not math.isfinite(scale):
        raise ValueError(f"scale must be finite, or None, got {scale}")
    softcap = None if softcap is None else float(softcap)
    if softcap is not None and not 0 < softcap < math.inf:
        raise ValueError(f"softcap must be positive and finite, or None, got {softcap}")
    return scale, softcap


def check_shapes(q: jax.Array, k: jax.Array, v: jax.Array) -> None:
    for name, array in (("q", q), ("k", k), ("v", v)):
        if array.ndim != 4:
            raise ValueError(f"{name} must have 4 axes (B, length, heads, D), got {array.shape}")
        if array.dtype.name not in DTYPES:
            raise ValueError(f"{name} must be of {', '.join(DTYPES)}, got {array.dtype}")
        if array.dtype != q.dtype:
            raise ValueError(f"{name} must be of q's dtype {q.dtype}, got {array.dtype}")
        if 0 in array.shape:
            raise ValueError(f"{name} must have no axis of size 0, got {array.shape}")
    if k.shape != v.shape:
        raise ValueError(f"v must have k's shape {k.shape}, got {v.shape}")
    if (q.shape[0], q.shape[3]) != (k.shape[0], k.shape[3]):
        raise ValueError(f"k must have q's batch and head size {q.shape[::3]}, got {k.shape[::3]}")
    if q.shape[2] % k.shape[2]:
        raise ValueError(f"q's heads must be a multiple of k's {k.shape[2]}, got {q.shape[2]}")


def band(causal: bool, window: Any) -> tuple[int | None, int | None]:
    """Keys before and after a query that it sees; None is no limit."""
    sides = tuple(window) if isinstance(window, tuple | list) else (window, window)
    allowed = [side is None or (isinstance(side, int | np.integer) and side >= 0) for side in sides]
    if len(sides) != 2 or not all(allowed):
        raise ValueError(
            "window must be None or an integer from 0 on, or a pair (before, after) of such, "
            f"got {window}"
        )
    return sides[0], 0 if causal else sides[1]


def segments(
    segment_ids: Any, of_queries: tuple[int, int], of_keys: tuple[int, int]
) -> tuple[jax.Array | None, jax.Array | None]:
    if segment_ids is None:
        return None, None
    pair = segment_ids if isinstance(segment_ids, tuple | list) else (segment_ids, segment_ids)
    if len(pair) != 2:
        raise ValueError(f"segment_ids must be one array or a pair, got {len(pair)}")
    for ids, shape in zip(pair, (of_queries, of_keys), strict=True):
        if ids.shape != shape or not jnp.issubdtype(ids.dtype, jnp.integer):
            raise ValueError(
                f"segment_ids must be integers {of_queries} and {of_keys}, "
                f"got {ids.dtype} {ids.shape}"
            )
    return pair[0].astype(jnp.int32), pair[1].astype(jnp.int32)
