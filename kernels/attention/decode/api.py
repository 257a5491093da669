"""`decode_attention`, `paged_decode_attention`: arguments checked, a backend chosen."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kernels.attention.api import scaling
from kernels.dispatch import DTYPES, Implementation, choose
from kernels.shares import on_shares

BACKENDS = ("reference", "xla", "mosaic_tpu", "triton")


class Arrays(NamedTuple):
    """Keys and values (B, K, S, D); with `pages`, (P, K, N, D): N positions in each of P pages."""

    q_BxHxD: jax.Array
    k: jax.Array
    v: jax.Array
    lengths_B: jax.Array
    pages_BxM: jax.Array | None


@dataclasses.dataclass(frozen=True)
class Settings:
    """`window` is how many positions before its own the query sees; None is no limit."""

    scale: float
    softcap: float | None
    window: int | None


def decode_attention(
    q_BxHxD: jax.Array,
    k_BxKxSxD: jax.Array,
    v_BxKxSxD: jax.Array,
    lengths_B: jax.Array,
    *,
    window: int | None = None,
    softcap: float | None = None,
    scale: float | None = None,
    implementation: Implementation = "auto",
) -> jax.Array:
    """Attention (B, H, D) of each sequence's newest query over its first `lengths` keys.

    A head's keys lie together, position after position (FlashInfer's HND): a query reads one piece.
    The query stands at position length - 1 and sees keys from length - 1 - `window` on. A sequence
    of length 0 gets 0; what the cache holds beyond a length, any finite numbers, changes no bit of
    the result. Scale, softcap and heads are `kernels.attention.attention`'s, and so is
    `implementation`. Raises ValueError for arguments that don't fit. Not differentiable: made for
    sampling.
    """
    check_query(q_BxHxD)
    if k_BxKxSxD.ndim != 4 or k_BxKxSxD.shape[0] != q_BxHxD.shape[0]:
        raise ValueError(f"k must be (B={q_BxHxD.shape[0]}, K, S, D), got {k_BxKxSxD.shape}")
    arrays = Arrays(q_BxHxD, k_BxKxSxD, v_BxKxSxD, lengths_B, None)
    return run(arrays, window, softcap, scale, implementation)


def paged_decode_attention(
    q_BxHxD: jax.Array,
    k_PxKxNxD: jax.Array,
    v_PxKxNxD: jax.Array,
    lengths_B: jax.Array,
    pages_BxM: jax.Array,
    *,
    window: int | None = None,
    softcap: float | None = None,
    scale: float | None = None,
    implementation: Implementation = "auto",
) -> jax.Array:
    """`decode_attention` over a cache in pages of N positions (vLLM, 2309.06180).

    `pages[b, m]` is the page that holds positions m N to m N + N - 1 of sequence b; entries beyond
    a sequence's length may be any integer. Lengths are at most M N.
    """
    check_query(q_BxHxD)
    if k_PxKxNxD.ndim != 4:
        raise ValueError(f"k must have 4 axes (pages, K, positions, D), got {k_PxKxNxD.shape}")
    expected = (q_BxHxD.shape[0],)
    if (
        pages_BxM.ndim != 2
        or pages_BxM.shape[:1] != expected
        or not pages_BxM.shape[1]
        or not jnp.issubdtype(pages_BxM.dtype, jnp.integer)
    ):
        raise ValueError(
            f"pages must be integers (B={expected[0]}, M), M at least 1, "
            f"got {pages_BxM.dtype} {pages_BxM.shape}"
        )
    pages = pages_BxM.astype(jnp.int32)
    arrays = Arrays(q_BxHxD, k_PxKxNxD, v_PxKxNxD, lengths_B, pages)
    return run(arrays, window, softcap, scale, implementation)


def run(
    arrays: Arrays,
    window: int | None,
    softcap: float | None,
    scale: float | None,
    implementation: Implementation,
) -> jax.Array:
    check(arrays)
    scale, softcap = scaling(scale, softcap, arrays.q_BxHxD.shape[-1])
    if window is not None and not (isinstance(window, int | np.integer) and window >= 0):
        raise ValueError(f"window must be an integer from 0 on or None, got {window}")
    # What reaches over all there is is no limit, and may be more than an int32 holds.
    window = None if window is None or window >= positions(arrays) else int(window)
    arrays = arrays._replace(lengths_B=arrays.lengths_B.astype(jnp.int32))
    settings = Settings(scale, softcap, window)
    backend = choose("kernels.attention.decode", BACKENDS, implementation, arrays, settings)
    in_pages = arrays.pages_BxM is not None  # which any sequence may read
    of_batch = jax.tree.map(lambda _: True, arrays)._replace(k=not in_pages, v=not in_pages)
    return on_shares(
        backend,
        lambda arrays: backend.forward(arrays, settings),
        arrays,
        batch=len(arrays.q_BxHxD),
        split=(of_batch,),
        split_out=True,
    )


def positions(arrays: Arrays) -> int:
    """How many a sequence may have."""
    pages = 1 if arrays.pages_BxM is None else arrays.pages_BxM.shape[1]
    return pages * arrays.k.shape[2]


def check_query(q: jax.Array) -> None:
    if q.ndim != 3 or q.dtype.name not in DTYPES:
        raise ValueError(f"q must be (B, H, D) of {', '.join(DTYPES)}, got {q.dtype} {q.shape}")


def check(arrays: Arrays) -> None:
    q, k, v, lengths, _ = arrays
    for name, array in (("k", k), ("v", v)):
        if array.dtype != q.dtype:
            raise ValueError(f"{name} must be of q's dtype {q.dtype}, got {array.dtype}")
        if 0 in array.shape:
            raise ValueError(f"{name} must have no axis of size 0, got {array.shape}")
    if k.shape != v.shape:
        raise ValueError(f"v must have k's shape {k.shape}, got {v.shape}")
    if k.shape[3] != q.shape[2]:
        raise ValueError(f"k must have q's head size {q.shape[2]}, got {k.shape[3]}")
    if q.shape[1] % k.shape[1]:
        raise ValueError(f"q's heads must be a multiple of k's {k.shape[1]}, got {q.shape[1]}")
    if lengths.shape != q.shape[:1] or not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise ValueError(
            f"lengths must be integers {q.shape[:1]}, got {lengths.dtype} {lengths.shape}"
        )
