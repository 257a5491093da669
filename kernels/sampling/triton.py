"""Sampling on GPUs in Triton: what the kernel is launched with, and its blocks."""

import jax
import jax.numpy as jnp
import numpy as np

from kernels.blocks import Blocks, chosen
from kernels.sampling.api import BLOCK, Arrays, Draw, Settings
from kernels.sampling.filters import widest_gap
from kernels.sampling.shapes import flops
from kernels.triton_call import triton_call

DEFAULT: Blocks = {"tile": 4096, "num_warps": 8}


def refuses(arrays: Arrays, settings: Settings) -> str | None:
    """Why this backend doesn't take the call, or None."""
    if settings.method != "inverse_cdf":
        return "XLA makes Gumbel noise"
    return None


def draw(arrays: Arrays, settings: Settings) -> Draw:
    """A token a row and its log-probability."""
    from kernels.sampling.triton_kernels import sample_kernel

    batch, size = arrays.logits_BxV.shape
    blocks = chosen("kernels.sampling", "triton", "sample", DEFAULT)
    tokens_B, log_probs_B = triton_call(
        *arrays,
        kernel=sample_kernel,
        out=[
            jax.ShapeDtypeStruct((batch,), jnp.int32),
            jax.ShapeDtypeStruct((batch,), jnp.float32),
        ],
        grid=(batch,),
        flops=flops(batch, size),
        num_warps=blocks["num_warps"],
        num_stages=1,
        SIZE=size,
        BITS=size.bit_length(),
        TILE=max(BLOCK, min(blocks["tile"], 1 << (size - 1).bit_length())),
        BLOCK=BLOCK,
        PER_TEMPERATURE=float(np.float32(1 / settings.temperature)),
        TOP_K=settings.top_k or 0,
        TOP_P=float(settings.top_p or 1),
        WIDEST=widest_gap(settings.min_p or 0),
    )
    return Draw(tokens_B, log_probs_B)
