"""Which tokens may be drawn: top-k, top-p and min-p, and log-probabilities.

Tokens are ranked by likelihood, those of one likelihood by their index, so that a filter keeps
exactly the first few. Likelihoods are compared in float32: as gaps, max logit - logit, or as
weights, exp(-gap), which are 1 for the likeliest. A row with NaN or +inf, or of -inf alone, has a
NaN among its gaps, and comes out of a filter as -inf or NaN alone.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from kernels.blocks import largest_divisor
from kernels.dispatch import DTYPES
from kernels.machine import machine

CACHED_ROWS = 16  # a vocabulary of 50k is 200 KB a row
WEIGHT_BITS = 30  # those of a float32 from 0 to 1, which has the order of its bits as an integer


def top_k_filter(logits_BxV: jax.Array, k: int) -> jax.Array:
    """The logits of the k most likely tokens, -inf elsewhere; among equals the first are kept.

    Raises ValueError unless 1 <= k <= V.
    """
    check_logits(logits_BxV)
    check_top_k(k, logits_BxV.shape[1])
    return keep_top_k(logits_BxV, k)


def top_p_filter(logits_BxV: jax.Array, p: float) -> jax.Array:
    """The logits of the smallest set of most likely tokens of mass >= p, -inf elsewhere.

    The token that crosses p is kept. Of equally likely tokens at the boundary only so many are as
    the mass needs, those of lowest index. Masses are float32 sums: within their rounding of p the
    set may be a token smaller or larger. Raises ValueError unless 0 < p <= 1. Nucleus sampling,
    Holtzman et al. (1904.09751), equations 2 and 3.
    """
    check_logits(logits_BxV)
    check_top_p(p)
    return keep_top_p(logits_BxV, p)


def min_p_filter(logits_BxV: jax.Array, p: float) -> jax.Array:
    """The logits of tokens at least p times as likely as the likeliest, -inf elsewhere.

    Raises ValueError unless 0 <= p <= 1. Nguyen et al. (2407.01082), algorithm 1.
    """
    check_logits(logits_BxV)
    check_min_p(p)
    return keep_min_p(logits_BxV, p)


def log_probs(logits_BxV: jax.Array, tokens_B: jax.Array) -> jax.Array:
    """log softmax(logits) at one token a row, float32; NaN for a token of -1 or a bad row."""
    check_logits(logits_BxV)
    gap_BxV = gaps(logits_BxV)
    gap_B = jnp.take_along_axis(gap_BxV, jnp.maximum(tokens_B, 0)[:, None], axis=1)[:, 0]
    return jnp.where(tokens_B < 0, jnp.nan, -gap_B - jnp.log(jnp.sum(jnp.exp(-gap_BxV), axis=1)))


def gaps(logits_BxV: jax.Array) -> jax.Array:
    """max logit - logit, float32."""
    logits_BxV = logits_BxV.astype(jnp.float32)
    return jnp.max(logits_BxV, axis=1, keepdims=True) - logits_BxV


def tempered(logits_BxV: jax.Array, temperature: float) -> jax.Array:
    """(logits - max logit) / temperature, float32: a product has the same bits on all machines."""
    if temperature == 1:
        return logits_BxV.astype(jnp.float32)
    return gaps(logits_BxV) * jnp.float32(-1 / temperature)


def keep_top_k(logits_BxV: jax.Array, k: int) -> jax.Array:
    gap_BxV = gaps(logits_BxV)
    values, indices = lax.top_k(-gap_BxV, k)  # of equals, the lowest index first
    widest, last = -values[:, -1:], indices[:, -1:]
    first = (gap_BxV < widest) | ((gap_BxV == widest) & (jnp.arange(gap_BxV.shape[1]) <= last))
    return jnp.where(first & (gap_BxV < jnp.inf), logits_BxV, -jnp.inf)


def keep_top_p(logits_BxV: jax.Array, p: float) -> jax.Array:
    if p == 1:
        return logits_BxV
    weight_BxV = jnp.exp(-gaps(logits_BxV))
    goal_Bx1 = jnp.float32(p) * jnp.sum(weight_BxV, axis=1, keepdims=True)
    first_BxV = by_rows(leading, weight_BxV, goal_Bx1)
    return jnp.where(first_BxV & (weight_BxV > 0), logits_BxV, -jnp.inf)


def keep_min_p(logits_BxV: jax.Array, p: float) -> jax.Array:
    """Compared as gaps, since an exp is rounded otherwise on other machines."""
    if p == 0:
        return logits_BxV
    return jnp.where(gaps(logits_BxV) <= widest_gap(p), logits_BxV, -jnp.inf)


def widest_gap(min_p: float) -> float:
    return -math.log(min_p) if min_p > 0 else math.inf


def by_rows(search: Callable[..., jax.Array], *arrays: jax.Array) -> jax.Array:
    """`search(*arrays)`, on a CPU some rows at a time: its many passes stay in the cache."""
    size = len(arrays[0])
    rows = largest_divisor(size, CACHED_ROWS) if machine().platform == "cpu" else size
    if rows == size:
        return search(*arrays)
    groups = tuple(array.reshape(size // rows, rows, -1) for array in arrays)
    return lax.map(lambda group: search(*group), groups).reshape(size, -1)


def leading(weight_BxV: jax.Array, goal_Bx1: jax.Array) -> jax.Array:
    """The fewest tokens, first in rank, whose weights sum to the goal or more; bool (B, V).

    The least weight among them is found exactly, bit by bit, with no sort; then, if only some of
    the tokens of that weight are needed, the index of the last one, the same way.
    """

    def mass_from(bits_Bx1: jax.Array) -> jax.Array:
        least_Bx1 = lax.bitcast_convert_type(bits_Bx1, jnp.float32)
        return jnp.sum(jnp.where(weight_BxV >= least_Bx1, weight_BxV, 0), axis=1, keepdims=True)

    bits_Bx1 = largest(lambda bits: mass_from(bits) >= goal_Bx1, goal_Bx1.shape, WEIGHT_BITS)
    least_Bx1 = lax.bitcast_convert_type(bits_Bx1, jnp.float32)
    needed_Bx1 = jnp.ceil((goal_Bx1 - mass_from(bits_Bx1 + 1)) / least_Bx1)

    tied_BxV = weight_BxV == least_Bx1
    size = weight_BxV.shape[1]
    index_1xV = jnp.arange(size)[None, :]

    def count_before(index_Bx1: jax.Array) -> jax.Array:
        return jnp.sum(tied_BxV & (index_1xV < index_Bx1), axis=1, keepdims=True, dtype=jnp.float32)

    last_Bx1 = lax.cond(
        jnp.any(count_before(jnp.int32(size)) > needed_Bx1),
        lambda: largest(
            lambda index: count_before(index) < needed_Bx1, goal_Bx1.shape, size.bit_length()
        ),
        lambda: jnp.full(goal_Bx1.shape, size, jnp.int32),
    )
    return (weight_BxV > least_Bx1) | (tied_BxV & (index_1xV <= last_Bx1))


def largest(
    holds: Callable[[jax.Array], jax.Array], shape: tuple[int, ...], bits: int
) -> jax.Array:
    """The largest int32 of so many bits for which `holds`, which is true of 0 and monotone."""

    def step(i: jax.Array, found: jax.Array) -> jax.Array:
        higher = found | (jnp.int32(1) << (bits - 1 - i))
        return jnp.where(holds(higher), higher, found)

    return lax.fori_loop(0, bits, step, jnp.zeros(shape, jnp.int32))


def check_logits(logits: jax.Array) -> None:
    if logits.ndim != 2 or 0 in logits.shape:
        raise ValueError(f"logits must have shape (B, V), neither 0, got {logits.shape}")
    if logits.dtype.name not in DTYPES:
        raise ValueError(f"logits must be of {', '.join(DTYPES)}, got {logits.dtype}")


def check_top_k(top_k: int, size: int) -> None:
    if not isinstance(top_k, int) or not 1 <= top_k <= size:
        raise ValueError(f"top_k must be an integer from 1 to V = {size}, got {top_k!r}")


def check_top_p(top_p: float) -> None:
    if not 1e-30 <= top_p <= 1:
        raise ValueError(f"top_p must be above 0, 1e-30 at least, and at most 1, got {top_p}")


def check_min_p(min_p: float) -> None:
    if not 0 <= min_p <= 1:
        raise ValueError(f"min_p must be from 0 to 1, got {min_p}")
