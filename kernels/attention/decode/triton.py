"""Decode attention on GPUs in Triton: programs share out a sequence's keys, then XLA combines.

A program takes the query heads of one key head to one stretch of keys, so that a cache is read once
and a long sequence keeps the whole chip busy (flash decoding, Dao et al. 2023).
"""

import jax
import jax.numpy as jnp
import triton
import triton.language as tl

from kernels.attention.decode.api import Arrays, Settings, positions
from kernels.attention.decode.shapes import flops, in_reach
from kernels.attention.triton import key_of, padded
from kernels.attention.triton_parts import LN2, LOG2E, LOWEST, capped
from kernels.blocks import Blocks, chosen
from kernels.triton_call import triton_call

DEFAULT = dict(block_k=64, split=256, num_warps=4, num_stages=3)
# Of keys of so many bytes 64 fit every chip's shared memory, with float32 weights in two stages.
WIDEST = 256


def refuses(arrays: Arrays, settings: Settings) -> str | None:
    """Takes head sizes up to 256, and partial outputs of less than 2^31 numbers."""
    if arrays.q_BxHxD.shape[-1] > 256:
        return f"takes head sizes up to 256, got {arrays.q_BxHxD.shape[-1]}"
    _, _, splits = planned(arrays)
    partial = arrays.q_BxHxD.size * splits
    if partial >= 2**31:
        return f"takes less than 2^31 numbers of stretches to combine, got {partial}"
    return None


def planned(arrays: Arrays) -> tuple[int, Blocks, int]:
    """How many keys a sequence's cache has room for, block sizes, and in how many stretches."""
    length, q = positions(arrays), arrays.q_BxHxD
    wide = -(-padded(q.shape[-1]) * q.dtype.itemsize // WIDEST)
    stages = 2 if q.dtype == jnp.float32 else DEFAULT["num_stages"]
    default = DEFAULT | {"block_k": DEFAULT["block_k"] // wide, "num_stages": stages}
    blocks = chosen("kernels.attention.decode", "triton", key_of("decode", q), default)
    return length, blocks, -(-length // blocks["split"])


def forward(arrays: Arrays, settings: Settings) -> jax.Array:
    """The output (B, H, D)."""
    q, k, _, _, pages = arrays
    batch, heads, size = q.shape
    key_heads = k.shape[1]
    length, blocks, splits = planned(arrays)
    out_BxHxNxD, lse_BxHxN = triton_call(
        *(q if x is None else x for x in arrays),  # without pages, what isn't read
        kernel=decode_kernel,
        out=(
            jax.ShapeDtypeStruct((batch, heads, splits, size), jnp.float32),
            jax.ShapeDtypeStruct((batch, heads, splits), jnp.float32),
        ),
        grid=(batch * key_heads * splits,),
        flops=flops(q.shape, in_reach(length, settings.window)),
        S=length,
        H=heads,
        K=key_heads,
        D=size,
        PAGE=None if pages is None else k.shape[2],
        SPLIT=blocks["split"],
        FACTOR=settings.scale / (settings.softcap or 1.0),
        CAP=settings.softcap,
        WINDOW=settings.window,
        PRECISION="ieee" if q.dtype == jnp.float32 else "tf32",
        BLOCK_G=padded(heads // key_heads),
        BLOCK_K=blocks["block_k"],
        BLOCK_D=padded(size),
        num_warps=blocks["num_warps"],
        num_stages=blocks["num_stages"],
    )
    return combined(out_BxHxNxD, lse_BxHxN).astype(q.dtype)


def combined(out_BxHxNxD: jax.Array, lse_BxHxN: jax.Array) -> jax.Array:
    """The softmax over all keys from those over N stretches; 0 where none has any."""
    highest = jnp.max(lse_BxHxN, axis=-1, keepdims=True)
    weights_BxHxN = jnp.exp(lse_BxHxN - jnp.where(highest == -jnp.inf, 0, highest))
    total_BxHx1 = jnp.sum(weights_BxHxN, axis=-1, keepdims=True)
    weights_BxHxN /= jnp.where(total_BxHx1 == 0, 1, total_BxHx1)
    return jnp.sum(weights_BxHxN[..., None] * out_BxHxNxD, axis=2)


def candidates(key: str) -> list[Blocks]:
    """Blocks of keys, and stretches of several, for the tuner."""
    return [
        dict(block_k=block_k, split=split, num_warps=num_warps, num_stages=num_stages)
        for split in (256, 512, 1024)
        for block_k in (32, 64, 128)
        for num_warps in (2, 4)
        for num_stages in (2, 3)
    ]


@triton.jit
def decode_kernel(
    q_ptr,
    k_ptr,
    v_ptr,
    lengths_ptr,
    pages_ptr,
    out_ptr,
    lse_ptr,
    S: tl.constexpr,
    H: tl.constexpr,
    K: tl.constexpr,
    D: tl.constexpr,
    PAGE: tl.constexpr,
    SPLIT: tl.constexpr,
    FACTOR: tl.constexpr,
    CAP: tl.constexpr,
    WINDOW: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_G: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """out and log-sum-exp of the H / K queries of a key head over keys split * SPLIT and on."""
    SPLITS: tl.constexpr = (S + SPLIT - 1) // SPLIT
    G: tl.constexpr = H // K
    split = tl.program_id(0) % SPLITS
    key_head = tl.program_id(0) // SPLITS % K
    b = tl.program_id(0) // SPLITS // K
    length = tl.load(lengths_ptr + b)
    start = split * SPLIT
    stop = tl.minimum(tl.minimum(start + SPLIT, S), length)
    first = 0
    if WINDOW is not None:
        first = length - 1 - WINDOW
        start = tl.maximum(start, first // BLOCK_K * BLOCK_K)

    g = tl.arange(0, BLOCK_G)
    d = tl.arange(0, BLOCK_D)
    head = b * H + key_head * G + g
    of_query = (g[:, None] < G) & (d[None, :] < D)
    q = tl.load(q_ptr + head[:, None] * D + d[None, :], mask=of_query, other=0)
    highest = tl.full([BLOCK_G], LOWEST, tl.float32)
    total = tl.zeros([BLOCK_G], tl.float32)
    out = tl.zeros([BLOCK_G, BLOCK_D], tl.float32)
    for begin in range(start, stop, BLOCK_K):
        j = begin + tl.arange(0, BLOCK_K)
        # Beyond a length the cache, and the table of its pages, hold anything.
        seen = (j >= first) & (j < stop)
        if PAGE is None:
            place = (b.to(tl.int64) * K + key_head) * S + j
        else:
            page = tl.load(pages_ptr + b * (S // PAGE) + j // PAGE, mask=seen, other=0)
            place = (page.to(tl.int64) * K + key_head) * PAGE + j % PAGE
        where = place[:, None] * D + d[None, :]
        within = seen[:, None] & (d[None, :] < D)
        k = tl.load(k_ptr + where, mask=within, other=0)
        logits = capped(tl.dot(q, k.T, input_precision=PRECISION), FACTOR, CAP)
        logits = tl.where(seen[None, :], logits, -float("inf"))
        now = tl.maximum(highest, tl.max(logits, 1))
        weights = tl.exp2((logits - now[:, None]) * LOG2E)
        rescale = tl.exp2((highest - now) * LOG2E)
        total = total * rescale + tl.sum(weights, 1)
        v = tl.load(v_ptr + where, mask=within, other=0)
        out = out * rescale[:, None]
        out = tl.dot(weights.to(v.dtype), v, out, input_precision=PRECISION)
        highest = now

    out = out / tl.where(total == 0, 1.0, total)[:, None]
    lse = highest + tl.log2(total) * LN2
    row = head * SPLITS + split
    tl.store(out_ptr + row[:, None] * D + d[None, :], out, mask=of_query)
    tl.store(lse_ptr + row, lse, mask=g < G)
