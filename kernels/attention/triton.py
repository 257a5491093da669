"""Attention on GPUs in Triton: what the kernels are launched with, and their blocks."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from kernels.attention.api import Arrays, Settings
from kernels.attention.shapes import flops
from kernels.attention.xla import bias_gradient
from kernels.blocks import Blocks, chosen
from kernels.triton_call import triton_call


def refuses(arrays: Arrays, settings: Settings) -> str | None:
    """Offsets within a sequence, and within a head's bias, are of 32 bits."""
    q, k, _, bias = arrays[:4]
    if q.shape[-1] > 256:
        return f"takes head sizes up to 256, got {q.shape[-1]}"
    if max(math.prod(x.shape[1:]) for x in (q, k)) >= 2**31:
        return "takes sequences of less than 2^31 elements"
    if bias is not None and math.prod(bias.shape[2:]) >= 2**31:
        return "takes biases of less than 2^31 elements a head"
    return None


def forward(arrays: Arrays, settings: Settings) -> tuple[jax.Array, jax.Array]:
    """The output (B, T, H, D) and the logits' log-sum-exp (B, H, T), -inf where no key is seen."""
    from kernels.attention.triton_kernels import forward_kernel

    q = arrays.q_BxTxHxD
    batch, queries, heads, _ = q.shape
    blocks = blocks_of("forward", q)
    lse = jax.ShapeDtypeStruct((batch, heads, queries), jnp.float32)
    out_BxTxHxD, lse_BxHxT = triton_call(
        *given(arrays),
        kernel=forward_kernel,
        out=(jax.ShapeDtypeStruct(q.shape, q.dtype), lse),
        grid=(batch * heads * -(-queries // blocks["block_q"]),),
        flops=flops("forward", q.shape, arrays.k_BxSxKxD.shape[1], settings.left, settings.right),
        **constants(arrays, settings, blocks),
    )
    return out_BxTxHxD, lse_BxHxT


def backward(
    arrays: Arrays, settings: Settings, out: jax.Array, lse: jax.Array, dout: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array | None]:
    """The gradients by q, k, v and bias; the bias's is XLA's (kernels/attention/xla.py)."""
    from kernels.attention.triton_kernels import dkv_kernel, dq_kernel

    q, k, v = arrays[:3]
    batch, queries, heads, _ = q.shape
    _, keys, key_heads, _ = k.shape
    delta_BxHxT = jnp.einsum("bthd,bthd->bht", *(x.astype(jnp.float32) for x in (out, dout)))
    # exp(logits - inf) = 0: a query that sees no key.
    total_BxHxT = jnp.where(lse == -jnp.inf, jnp.inf, lse)
    inputs = (*given(arrays), dout, total_BxHxT, delta_BxHxT)

    blocks = blocks_of("dq", q)
    (dq,) = triton_call(
        *inputs,
        kernel=dq_kernel,
        out=(jax.ShapeDtypeStruct(q.shape, q.dtype),),
        grid=(batch * heads * -(-queries // blocks["block_q"]),),
        flops=flops("dq", q.shape, keys, settings.left, settings.right),
        SCALE=settings.scale,
        **constants(arrays, settings, blocks),
    )
    blocks = blocks_of("dkv", q)
    dk, dv = triton_call(
        *inputs,
        kernel=dkv_kernel,
        out=(jax.ShapeDtypeStruct(k.shape, k.dtype), jax.ShapeDtypeStruct(v.shape, v.dtype)),
        grid=(batch * key_heads * -(-keys // blocks["block_k"]),),
        flops=flops("dkv", q.shape, keys, settings.left, settings.right),
        SCALE=settings.scale,
        **constants(arrays, settings, blocks),
    )
    return dq, dk, dv, bias_gradient(arrays, settings, out, lse, dout)


def given(arrays: Arrays) -> tuple[jax.Array, ...]:
    """q, k, v, bias and segments; q stands for what is absent and isn't read."""
    return tuple(arrays.q_BxTxHxD if x is None else x for x in arrays)


def constants(arrays: Arrays, settings: Settings, blocks: Blocks) -> dict[str, Any]:
    """What the kernels know when they are compiled, and how they are launched."""
    q, k, _, bias = arrays[:4]
    factor, unit = settings.scale / (settings.softcap or 1.0), 1.0
    if settings.softcap is None and bias is None and settings.scale > 0:
        factor, unit = unit, factor
    return dict(
        T=q.shape[1],
        S=k.shape[1],
        H=q.shape[2],
        K=k.shape[2],
        D=q.shape[3],
        FACTOR=factor,
        CAP=settings.softcap,
        UNIT=unit,
        LEFT=settings.left,
        RIGHT=settings.right,
        BIAS=None if bias is None else strides(bias.shape),
        SEGMENTS=arrays.q_segments_BxT is not None,
        PRECISION="ieee" if q.dtype == jnp.float32 else "tf32",
        BLOCK_Q=blocks["block_q"],
        BLOCK_K=blocks["block_k"],
        BLOCK_D=padded(q.shape[3]),
        num_warps=blocks["num_warps"],
        num_stages=blocks["num_stages"],
    )


def strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """In elements; 0 along an axis of size 1, which is broadcast."""
    return tuple(0 if n == 1 else math.prod(shape[i + 1 :]) for i, n in enumerate(shape))


def padded(size: int) -> int:
    """The head size as tl.dot takes it: a power of 2, at least 16."""
    return max(16, 1 << (size - 1).bit_length())


def key_of(phase: str, q: jax.Array) -> str:
    """'forward d128', or 'forward d128 float32', whose products use no matrix unit."""
    full = " float32" if q.dtype == jnp.float32 else ""
    return f"{phase} d{padded(q.shape[-1])}{full}"


def blocks_of(phase: str, q: jax.Array) -> Blocks:
    """The table's for a target, else what spills on none and fits 100 KiB of shared memory."""
    size = padded(q.shape[-1])
    if q.dtype == jnp.float32:
        default = blocks(16, 32 if size <= 64 else 16, 4, 1)
    else:
        default = blocks(64, 64, 4, 2) if size <= 128 and phase != "dkv" else blocks(32, 32, 4, 1)
    return chosen("kernels.attention", "triton", key_of(phase, q), default)


def candidates(key: str) -> list[Blocks]:
    """Blocks for the tuner, 4 warps to 64 rows of a matrix instruction or to 128 narrow ones."""
    if key.endswith("float32"):
        return [blocks(16, 16, 4, 1), blocks(16, 32, 4, 1), blocks(32, 32, 4, 1)]
    phase, size = key.split()
    wide = [(64, 32, 4), (64, 64, 4), (128, 32, 4), (128, 64, 4), (128, 64, 8), (128, 128, 8)]
    if size == "d256":
        wide = [(32, 32, 4), (64, 32, 4), (64, 64, 4), (64, 64, 8), (128, 32, 8), (128, 64, 8)]
    if phase == "dkv":  # a program owns the keys
        wide = [(16, 64, 4), (32, 32, 4), (32, 64, 4), (64, 64, 4), (32, 128, 8), (64, 128, 8)]
    stages = (2, 3) if size != "d256" else (1, 2)
    return [blocks(*rows, num_stages) for rows in wide for num_stages in stages]


def blocks(block_q: int, block_k: int, num_warps: int, num_stages: int) -> Blocks:
    return dict(block_q=block_q, block_k=block_k, num_warps=num_warps, num_stages=num_stages)
