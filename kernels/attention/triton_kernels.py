"""Attention's Triton kernels: the forward pass, and the gradient by keys and by queries.

A program owns one block of queries (or, for dk and dv, of keys) of one head and walks over the
blocks of the other side that the band allows: those at its edges with a mask, those inside without.
Each output element is summed by one program in one order, so two runs have the same bits.
FlashAttention-2 (2307.08691), algorithms 1 and 2.

`triton_parts` has what a call's settings mean.

Of logits of 1e4 a float32 keeps steps of 1e-3. A wrong step that a row's logits share cancels
in the softmax, so without a bias exponents round once, and the log-sum-exp is made without the
loop's roundings.
"""

import triton
import triton.language as tl

from kernels.attention.triton_parts import (
    LN2,
    LOG2E,
    LOWEST,
    biased,
    capped,
    ids,
    is_needed,
    of_head,
    part,
    place,
    reach,
    rows,
    seen,
    store_rows,
    uncapped,
)


@triton.jit
def forward_kernel(
    q_ptr,
    k_ptr,
    v_ptr,
    bias_ptr,
    q_segments_ptr,
    k_segments_ptr,
    out_ptr,
    lse_ptr,
    T: tl.constexpr,
    S: tl.constexpr,
    H: tl.constexpr,
    K: tl.constexpr,
    D: tl.constexpr,
    FACTOR: tl.constexpr,
    CAP: tl.constexpr,
    UNIT: tl.constexpr,
    LEFT: tl.constexpr,
    RIGHT: tl.constexpr,
    BIAS: tl.constexpr,
    SEGMENTS: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """out and the log-sum-exp of one block of queries."""
    block, b, h = place(tl.cdiv(T, BLOCK_Q), H)
    # The last queries may see the most keys: they start first.
    first = (tl.cdiv(T, BLOCK_Q) - 1 - block) * BLOCK_Q
    i = first + tl.arange(0, BLOCK_Q)
    q_ptr += b * T * H * D + h * D
    k_ptr += b * S * K * D + h // (H // K) * D
    v_ptr += b * S * K * D + h // (H // K) * D
    bias_ptr = of_head(bias_ptr, b, h, BIAS)
    q = rows(q_ptr, i, T, H * D, D, BLOCK_D, T % BLOCK_Q != 0)
    q_segment = ids(q_segments_ptr, b, i, T, SEGMENTS)

    highest = tl.full([BLOCK_Q], LOWEST, tl.float32)
    total = tl.zeros([BLOCK_Q], tl.float32)
    out = tl.zeros([BLOCK_Q, BLOCK_D], tl.float32)
    start, inner, outer, stop = reach(first, BLOCK_Q, T, S, LEFT, RIGHT, BLOCK_K)
    for edge in tl.static_range(3):
        lo, hi = part(edge, start, inner, outer, stop)
        if is_needed(edge, S, LEFT, RIGHT, BLOCK_K):
            for begin in range(lo, hi, BLOCK_K):
                j = begin + tl.arange(0, BLOCK_K)
                k = rows(k_ptr, j, S, K * D, D, BLOCK_D, edge != 1)
                logits = capped(tl.dot(q, k.T, input_precision=PRECISION), FACTOR, CAP)
                logits = biased(logits, bias_ptr, i[:, None], j[None, :], T, S, BIAS)
                k_segment = ids(k_segments_ptr, b, j, S, SEGMENTS)
                if edge != 1:
                    logits = seen(logits, i[:, None], j[None, :], S, LEFT, RIGHT)
                if SEGMENTS:
                    logits = tl.where(
                        q_segment[:, None] == k_segment[None, :], logits, -float("inf")
                    )
                now = tl.maximum(highest, tl.max(logits, 1))
                if BIAS is None:
                    weights = tl.exp2(
                        tl.fma(logits, UNIT * LOG2E, -(now * (UNIT * LOG2E))[:, None])
                    )
                else:
                    # A bias that all keys so far share may be so large that its roundings are more
                    # than an exponent holds.
                    weights = tl.exp2((logits - now[:, None]) * (UNIT * LOG2E))
                rescale = tl.exp2((highest - now) * (UNIT * LOG2E))
                total = total * rescale + tl.sum(weights, 1)
                v = rows(v_ptr, j, S, K * D, D, BLOCK_D, edge != 1)
                out = out * rescale[:, None]
                out = tl.dot(weights.to(v.dtype), v, out, input_precision=PRECISION)
                highest = now

    out = out / tl.where(total == 0, 1.0, total)[:, None]
    store_rows(out_ptr + b * T * H * D + h * D, out, i, T, H * D, D, BLOCK_D)
    # log2(0) is -inf, and so is no key's lse.
    exponent = tl.log2(total)
    if BIAS is None:
        # The weights were made with a rounded `highest`.
        exponent -= tl.fma(highest, UNIT * LOG2E, -(highest * (UNIT * LOG2E)))
    lse = tl.fma(highest, UNIT, exponent * LN2)
    tl.store(lse_ptr + (b * H + h) * T + i, lse, mask=i < T)


@triton.jit
def dq_kernel(
    q_ptr,
    k_ptr,
    v_ptr,
    bias_ptr,
    q_segments_ptr,
    k_segments_ptr,
    dout_ptr,
    lse_ptr,
    delta_ptr,
    dq_ptr,
    T: tl.constexpr,
    S: tl.constexpr,
    H: tl.constexpr,
    K: tl.constexpr,
    D: tl.constexpr,
    SCALE: tl.constexpr,
    FACTOR: tl.constexpr,
    CAP: tl.constexpr,
    UNIT: tl.constexpr,
    LEFT: tl.constexpr,
    RIGHT: tl.constexpr,
    BIAS: tl.constexpr,
    SEGMENTS: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """dq of one block of queries: scale * sum over keys of ds k, ds = p (dout.v - delta)."""
    block, b, h = place(tl.cdiv(T, BLOCK_Q), H)
    first = (tl.cdiv(T, BLOCK_Q) - 1 - block) * BLOCK_Q
    i = first + tl.arange(0, BLOCK_Q)
    of_queries = b * T * H * D + h * D
    k_ptr += b * S * K * D + h // (H // K) * D
    v_ptr += b * S * K * D + h // (H // K) * D
    bias_ptr = of_head(bias_ptr, b, h, BIAS)
    q = rows(q_ptr + of_queries, i, T, H * D, D, BLOCK_D, T % BLOCK_Q != 0)
    dout = rows(dout_ptr + of_queries, i, T, H * D, D, BLOCK_D, T % BLOCK_Q != 0)
    lse = tl.load(lse_ptr + (b * H + h) * T + i, mask=i < T, other=float("inf"))
    delta = tl.load(delta_ptr + (b * H + h) * T + i, mask=i < T, other=0)
    q_segment = ids(q_segments_ptr, b, i, T, SEGMENTS)

    dq = tl.zeros([BLOCK_Q, BLOCK_D], tl.float32)
    start, inner, outer, stop = reach(first, BLOCK_Q, T, S, LEFT, RIGHT, BLOCK_K)
    for edge in tl.static_range(3):
        lo, hi = part(edge, start, inner, outer, stop)
        if is_needed(edge, S, LEFT, RIGHT, BLOCK_K):
            for begin in range(lo, hi, BLOCK_K):
                j = begin + tl.arange(0, BLOCK_K)
                k = rows(k_ptr, j, S, K * D, D, BLOCK_D, edge != 1)
                v = rows(v_ptr, j, S, K * D, D, BLOCK_D, edge != 1)
                bare = capped(tl.dot(q, k.T, input_precision=PRECISION), FACTOR, CAP)
                logits = biased(bare, bias_ptr, i[:, None], j[None, :], T, S, BIAS)
                k_segment = ids(k_segments_ptr, b, j, S, SEGMENTS)
                if edge != 1:
                    logits = seen(logits, i[:, None], j[None, :], S, LEFT, RIGHT)
                if SEGMENTS:
                    logits = tl.where(
                        q_segment[:, None] == k_segment[None, :], logits, -float("inf")
                    )
                weights = tl.exp2(tl.fma(logits, UNIT, -lse[:, None]) * LOG2E)
                ds = weights * (tl.dot(dout, v.T, input_precision=PRECISION) - delta[:, None])
                ds = uncapped(ds, bare, CAP)
                dq = tl.dot(ds.to(k.dtype), k, dq, input_precision=PRECISION)
    store_rows(dq_ptr + of_queries, dq * SCALE, i, T, H * D, D, BLOCK_D)


@triton.jit
def dkv_kernel(
    q_ptr,
    k_ptr,
    v_ptr,
    bias_ptr,
    q_segments_ptr,
    k_segments_ptr,
    dout_ptr,
    lse_ptr,
    delta_ptr,
    dk_ptr,
    dv_ptr,
    T: tl.constexpr,
    S: tl.constexpr,
    H: tl.constexpr,
    K: tl.constexpr,
    D: tl.constexpr,
    SCALE: tl.constexpr,
    FACTOR: tl.constexpr,
    CAP: tl.constexpr,
    UNIT: tl.constexpr,
    LEFT: tl.constexpr,
    RIGHT: tl.constexpr,
    BIAS: tl.constexpr,
    SEGMENTS: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """dk and dv of one block of keys, over the query heads that share it: the same, transposed."""
    block, b, key_head = place(tl.cdiv(S, BLOCK_K), K)
    first = block * BLOCK_K
    j = first + tl.arange(0, BLOCK_K)
    of_keys = b * S * K * D + key_head * D
    k = rows(k_ptr + of_keys, j, S, K * D, D, BLOCK_D, S % BLOCK_K != 0)
    v = rows(v_ptr + of_keys, j, S, K * D, D, BLOCK_D, S % BLOCK_K != 0)
    k_segment = ids(k_segments_ptr, b, j, S, SEGMENTS)

    dk = tl.zeros([BLOCK_K, BLOCK_D], tl.float32)
    dv = tl.zeros([BLOCK_K, BLOCK_D], tl.float32)
    # A key's band of queries is the mirror of a query's band of keys.
    start, inner, outer, stop = reach(first, BLOCK_K, S, T, RIGHT, LEFT, BLOCK_Q)
    for h in range(key_head * (H // K), (key_head + 1) * (H // K)):
        of_queries = b * T * H * D + h * D
        of_rows = (b * H + h) * T
        of_bias = of_head(bias_ptr, b, h, BIAS)
        for edge in tl.static_range(3):
            lo, hi = part(edge, start, inner, outer, stop)
            if is_needed(edge, T, RIGHT, LEFT, BLOCK_Q):
                for begin in range(lo, hi, BLOCK_Q):
                    i = begin + tl.arange(0, BLOCK_Q)
                    q = rows(q_ptr + of_queries, i, T, H * D, D, BLOCK_D, edge != 1)
                    dout = rows(dout_ptr + of_queries, i, T, H * D, D, BLOCK_D, edge != 1)
                    lse = tl.load(lse_ptr + of_rows + i, mask=i < T, other=float("inf"))
                    delta = tl.load(delta_ptr + of_rows + i, mask=i < T, other=0)
                    bare = capped(tl.dot(k, q.T, input_precision=PRECISION), FACTOR, CAP)
                    logits = biased(bare, of_bias, i[None, :], j[:, None], T, S, BIAS)
                    q_segment = ids(q_segments_ptr, b, i, T, SEGMENTS)
                    if edge != 1:
                        logits = seen(logits, i[None, :], j[:, None], S, LEFT, RIGHT)
                    if SEGMENTS:
                        logits = tl.where(
                            q_segment[None, :] == k_segment[:, None], logits, -float("inf")
                        )
                    weights = tl.exp2(tl.fma(logits, UNIT, -lse[None, :]) * LOG2E)
                    dv = tl.dot(weights.to(dout.dtype), dout, dv, input_precision=PRECISION)
                    ds = weights * (tl.dot(v, dout.T, input_precision=PRECISION) - delta[None, :])
                    ds = uncapped(ds, bare, CAP)
                    dk = tl.dot(ds.to(q.dtype), q, dk, input_precision=PRECISION)
    store_rows(dk_ptr + of_keys, dk * SCALE, j, S, K * D, D, BLOCK_D)
    store_rows(dv_ptr + of_keys, dv, j, S, K * D, D, BLOCK_D)
