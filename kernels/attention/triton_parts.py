"""The pieces of attention's Triton kernels: which blocks meet, their rows, and a logit's settings.

A query i sees key j if i - LEFT <= j <= i + RIGHT, None being no limit, and if their segments are
equal. BIAS is None or the bias's strides. `product * FACTOR` is the inside of CAP's tanh, or,
without CAP, what the bias is added to. Times UNIT (> 0) it is a logit: where there is neither cap
nor bias the scale waits for the exponent, whose fused multiply-add takes it for nothing.
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
