"""Attention's Triton kernels: the forward pass, and the gradient by keys and by queries.

A program owns one block of queries (or, for dk and dv, of keys) of one head and walks over the
blocks of the other side that the band allows: those at its edges with a mask, those inside without.
Each output element is summed by one program in one order, so two runs have the same bits.
FlashAttention-2 (2307.08691), algorithms 1 and 2.

A query i sees key j if i - LEFT <= j <= i + RIGHT, None being no limit, and if their segments are
equal. BIAS is None or the bias's strides. `product * FACTOR` is the inside of CAP's tanh, or,
without CAP, what the bias is added to. Times UNIT (> 0) it is a logit: where there is neither cap
nor bias the scale waits for the exponent, whose fused multiply-add takes it for nothing.

Of logits of 1e4 a float32 keeps steps of 1e-3. A wrong step that a row's logits share cancels
in the softmax, so without a bias exponents round once, and the log-sum-exp is made without the
loop's roundings.
"""

import triton
import triton.language as tl

from kernels.attention import api

LN2 = tl.constexpr(0.6931471805599453)
LOG2E = tl.constexpr(1.4426950408889634)
# Less than any logit, yet finite: exp2(-inf - LOWEST) is 0 with no case for rows that see nothing.
LOWEST = tl.constexpr(-1e30)
HIDES = tl.constexpr(api.HIDES)


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


@triton.jit
def place(blocks, heads):
    """(block, batch, head) of this program; programs of one head are neighbours."""
    program = tl.program_id(0)
    above = (program // blocks).to(tl.int64)
    return program % blocks, above // heads, above % heads


@triton.jit
def reach(
    first, ROWS: tl.constexpr, N, M, LEFT: tl.constexpr, RIGHT: tl.constexpr, STEP: tl.constexpr
):
    """The columns that rows `first` to first + ROWS - 1 (of N) see: [start, stop) of M.

    [inner, outer) are those in whole blocks of STEP that every row sees.
    """
    last = tl.minimum(first + ROWS, N) - 1
    start = 0
    inner = 0
    stop = M
    outer = M
    if LEFT is not None:
        start = tl.maximum(first - LEFT, 0) // STEP * STEP
        inner = tl.cdiv(tl.maximum(last - LEFT, 0), STEP) * STEP
    if RIGHT is not None:
        stop = tl.minimum(M, last + RIGHT + 1)
        outer = tl.minimum(M, first + RIGHT + 1)
    inner = tl.minimum(inner, stop)
    return start, inner, tl.maximum(outer // STEP * STEP, inner), stop


@triton.jit
def part(edge: tl.constexpr, start, inner, outer, stop):
    """The columns before the ones that all see (0), those (1), and the ones after (2)."""
    if edge == 0:
        return start, inner
    elif edge == 1:
        return inner, outer
    else:
        return outer, stop


@triton.constexpr_function
def is_needed(edge, M, LEFT, RIGHT, STEP):
    """Whether part `edge` can hold a block at all: what can't is not compiled."""
    return (LEFT is not None, True, RIGHT is not None or M % STEP != 0)[edge]


@triton.jit
def rows(
    ptr, i, N, STRIDE: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr, CHECKED: tl.constexpr
):
    """Rows i of D elements each, 0 beyond N and D."""
    d = tl.arange(0, BLOCK_D)
    where = ptr + i[:, None] * STRIDE + d[None, :]
    if CHECKED and D != BLOCK_D:
        return tl.load(where, mask=(i[:, None] < N) & (d[None, :] < D), other=0)
    elif CHECKED:
        return tl.load(where, mask=i[:, None] < N, other=0)
    elif D != BLOCK_D:
        return tl.load(where, mask=d[None, :] < D, other=0)
    else:
        return tl.load(where)


@triton.jit
def store_rows(ptr, x, i, N, STRIDE: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr):
    d = tl.arange(0, BLOCK_D)
    within = (i[:, None] < N) & (d[None, :] < D)
    where = ptr + i[:, None] * STRIDE + d[None, :]
    tl.store(where, x.to(ptr.dtype.element_ty), mask=within)


@triton.jit
def ids(ptr, b, i, N, SEGMENTS: tl.constexpr):
    if SEGMENTS:
        return tl.load(ptr + b * N + i, mask=i < N, other=0)
    else:
        return i


@triton.jit
def of_head(ptr, b, h, BIAS: tl.constexpr):
    if BIAS is not None:
        ptr += b * BIAS[0] + h * BIAS[1]
    return ptr


@triton.jit
def capped(product, FACTOR: tl.constexpr, CAP: tl.constexpr):
    """CAP * tanh(FACTOR * product), or without CAP FACTOR * product."""
    x = product * FACTOR
    if CAP is not None:
        x = CAP - 2 * CAP / (1 + tl.exp2(x * (2 * LOG2E)))
    return x


@triton.jit
def uncapped(gradient, x, CAP: tl.constexpr):
    """The gradient before `capped`, by its value x: tanh' = 1 - tanh^2."""
    if CAP is not None:
        gradient *= 1 - (x / CAP) * (x / CAP)
    return gradient


@triton.jit
def biased(logits, ptr, i, j, T, S, BIAS: tl.constexpr):
    if BIAS is not None:
        within = (i < T) & (j < S)
        bias = tl.load(ptr + i * BIAS[2] + j * BIAS[3], mask=within, other=0).to(tl.float32)
        logits = tl.where(bias <= HIDES, -float("inf"), logits + bias)
    return logits


@triton.jit
def seen(logits, i, j, S, LEFT: tl.constexpr, RIGHT: tl.constexpr):
    """-inf where query i doesn't see key j."""
    mask = j < S
    if LEFT is not None:
        mask &= j >= i - LEFT
    if RIGHT is not None:
        mask &= j <= i + RIGHT
    return tl.where(mask, logits, -float("inf"))
