"""Public TPU attention kernels at the blocks that they pick themselves: what ours is held against.

Each of `PEERS` is a function of (q_BxTxHxD, k, v, *, causal), differentiable, with heads not
grouped. Their packages are imported when they are called.
"""

import math
from collections.abc import Callable

import jax


def jax_flash(q: jax.Array, k: jax.Array, v: jax.Array, *, causal: bool = False) -> jax.Array:
    """jax.experimental.pallas.ops.tpu.flash_attention, `BlockSizes.get_default`."""
    from jax.experimental.pallas.ops.tpu import flash_attention

    heads_first = (x.swapaxes(1, 2) for x in (q, k, v))
    scale = 1 / math.sqrt(q.shape[-1])
    return flash_attention.flash_attention(*heads_first, causal=causal, sm_scale=scale).swapaxes(
        1, 2
    )


def jax_splash(q: jax.Array, k: jax.Array, v: jax.Array, *, causal: bool = False) -> jax.Array:
    """jax.experimental.pallas.ops.tpu.splash_attention, `BlockSizes.get_default`."""
    from jax.experimental.pallas.ops.tpu import splash_attention as splash

    mask = (splash.CausalMask if causal else splash.FullMask)((q.shape[1], k.shape[1]))
    kernel = splash.make_splash_mha_single_device(splash.MultiHeadMask([mask] * q.shape[2]))
    heads_first = [x.swapaxes(1, 2) for x in (q / math.sqrt(q.shape[-1]), k, v)]
    return jax.vmap(kernel)(*heads_first).swapaxes(1, 2)


def tokamax_tpu(q: jax.Array, k: jax.Array, v: jax.Array, *, causal: bool = False) -> jax.Array:
    """tokamax's attention, implementation 'mosaic_tpu', its heuristics' configuration."""
    import tokamax

    # Its check of the machine: it may be compiled for a TPU that isn't here.
    with tokamax.config.cross_compile(True):
        return tokamax.dot_product_attention(q, k, v, is_causal=causal, implementation="mosaic_tpu")


PEERS: dict[str, Callable[..., jax.Array]] = {
    "jax_flash": jax_flash,
    "jax_splash": jax_splash,
    "tokamax_tpu": tokamax_tpu,
}


def takes(case: str) -> bool:
    """Whether the peers take a case of shapes.py."""
    return case in ("forward_2048", "causal_2048")
