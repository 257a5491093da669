"""Attention's forward pass on Hopper, in Pallas Mosaic GPU; the backward pass is Triton's."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.pallas import mosaic_gpu as plgpu

from kernels.attention import triton
from kernels.attention.api import Arrays, Settings
from kernels.attention.mosaic_gpu_kernel import MULTIPLY, QUERIES, Call, attention_forward, reach
from kernels.attention.shapes import flops
from kernels.blocks import Blocks, chosen, round_up
from kernels.mosaic_gpu_call import Launch, interpreter_refuses, mosaic_gpu_call

FORWARD: Blocks = {"block_k": 128, "stages": 2}

backward = triton.backward


def refuses(arrays: Arrays, settings: Settings) -> str | None:
    """Hopper's matrix instructions take operands of two bytes from shared memory."""
    q = arrays.q_BxTxHxD
    if q.dtype == jnp.float32:
        return "takes bfloat16 and float16, got float32"
    if q.shape[-1] != 128:
        # Of 64 it issues more instructions than Triton's kernel, of 256 its registers spill.
        return f"takes a head size of 128, got {q.shape[-1]}"
    if arrays.bias_bxhxtxs is not None or arrays.q_segments_BxT is not None:
        return "takes no bias and no segment_ids"
    if settings.softcap is not None or settings.scale <= 0:
        return "takes no softcap, and scales above 0"
    return triton.refuses(arrays, settings) or interpreter_refuses()


def forward(arrays: Arrays, settings: Settings) -> tuple[jax.Array, jax.Array]:
    """The output (B, T, H, D) and the logits' log-sum-exp (B, H, T), -inf where no key is seen."""
    q = arrays.q_BxTxHxD
    call = call_of(arrays, settings)
    # A copy's rows start at multiples of 16 bytes.
    lse = jax.ShapeDtypeStruct((call.batch, call.heads, round_up(call.T, call.rows)), jnp.float32)
    programs = call.batch * call.heads * call.tiles
    out_BxTxHxD, lse_BxHxT = mosaic_gpu_call(
        *arrays[:3],
        kernel=functools.partial(attention_forward, call=call),
        out=(jax.ShapeDtypeStruct(q.shape, q.dtype), lse),
        launch=Launch("attention_forward", programs, MULTIPLY, trips(call)),
        flops=flops("forward", q.shape, call.S, call.left, call.right),
        scratch=scratch(call, q.dtype),
    )
    return out_BxTxHxD, lse_BxHxT[..., : call.T]


def call_of(arrays: Arrays, settings: Settings) -> Call:
    q, k = arrays.q_BxTxHxD, arrays.k_BxSxKxD
    batch, queries, heads, size = q.shape
    return Call(
        batch,
        queries,
        k.shape[1],
        heads,
        heads // k.shape[2],
        size,
        settings.scale,
        settings.left,
        settings.right,
        **chosen("kernels.attention", "mosaic_gpu", f"forward d{size}", FORWARD),
    )


def candidates(key: str) -> list[Blocks]:
    """Blocks for the tuner; those that shared memory has no room for the compiler refuses."""
    return [dict(block_k=n, stages=stages) for n in (64, 128, 192) for stages in (2, 3, 4)]


def scratch(call: Call, dtype: Any) -> dict[str, Any]:
    """`Refs` from `q_smem` on: a program's shared memory and barriers."""
    slots = plgpu.SMEM((call.stages, call.block_k, call.D), dtype)
    ready = plgpu.Barrier(num_barriers=call.stages)
    free = plgpu.Barrier(num_barriers=call.stages, num_arrivals=MULTIPLY)
    return dict(
        q_smem=plgpu.SMEM((MULTIPLY, QUERIES, call.D), dtype),
        k_smem=slots,
        v_smem=slots,
        weights_smem=plgpu.SMEM((MULTIPLY, QUERIES, call.block_k), dtype),
        lse_smem=plgpu.SMEM((MULTIPLY, QUERIES), jnp.float32),
        q_ready=plgpu.Barrier(num_barriers=MULTIPLY),
        k_ready=ready,
        v_ready=ready,
        k_free=free,
        v_free=free,
        turn=plgpu.Barrier(num_barriers=MULTIPLY),
    )


def trips(call: Call) -> tuple[float, ...]:
    """How many blocks of keys each of the compiled loops visits in the mean program."""
    with jax.ensure_compile_time_eval():
        bounds = jax.vmap(lambda tile: jnp.array(reach(call, tile * call.rows)))
        visits = jnp.diff(bounds(jnp.arange(call.tiles))).mean(axis=0).tolist()
    compiled = (call.masks_left, True, call.masks_right)
    return tuple(n for n, is_there in zip(visits, compiled, strict=True) if is_there)
