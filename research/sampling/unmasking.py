"""Masked diffusion's ancestral sampler: hidden tokens are told, a few at a time, in any order."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key


def unmasked(
    log_probs: Callable[[Int[Array, "B T"]], Float[Array, "B T V"]],
    tokens_BxT: Int[Array, "B T"],
    rng: Key[Array, ""],
    *,
    mask: int,
    steps: int,
) -> Int[Array, "B T"]:
    """Texts in which every `mask` has become a token; what is told stays (2406.07524, equation 6).

    `log_probs` are of each place's token given the text so far, never the mask's. With the schedule
    alpha_t = 1 - t a hidden token is told between t and s with probability (t - s) / t: in step i
    of `steps` with 1 / (steps - i). Those told in one step are drawn apart from each other, so that
    the texts' distribution is exact as `steps` grows.
    """

    def step(i: Array, tokens_BxT: Array) -> Array:
        to_tell, to_draw = jax.random.split(jax.random.fold_in(rng, i))
        drawn_BxT = jax.random.categorical(to_draw, log_probs(tokens_BxT))
        told_BxT = jax.random.uniform(to_tell, tokens_BxT.shape) * (steps - i) < 1
        return jnp.where((tokens_BxT == mask) & told_BxT, drawn_BxT, tokens_BxT)

    return jax.lax.fori_loop(0, steps, step, tokens_BxT)
