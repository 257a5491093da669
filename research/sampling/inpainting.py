"""Inpainting with an unconditional model: RePaint."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from research.errors import check_least
from research.sampling.ancestral import Variance, ancestral_step, posterior
from research.sampling.denoisers import Denoiser
from research.sampling.schedules import Schedule, transitions


def repaint(
    denoise: Denoiser,
    x: Float[Array, "B ..."],
    schedule: Schedule,
    rng: Key[Array, ""],
    *,
    known: Float[Array, "B ..."],
    mask: Float[Array, "..."],
    resamples: int = 10,
    variance: Variance = "beta_tilde",
) -> Float[Array, "B ..."]:
    """Draws the rest of images whose pixels `known` are given where `mask` is 1 (2201.09865).

    Algorithm 1 from x ~ p(x_T): at each step the known part is drawn from q(x_s | x_0), the rest
    from p(x_s | x_t), and all but the last of `resamples` (U) results are noised back to x_t, so
    that the two parts come to agree. The denoiser is called steps * resamples times.

    Raises InputError if `resamples` is less than 1.
    """
    check_least(1, resamples=resamples)
    moves = transitions(schedule)

    def step(x_t: Array, now: Any) -> tuple[Array, None]:
        at, move, rng = now

        def denoised(x_t: Array, rng: Array) -> Array:
            rng_known, rng_unknown = jax.random.split(rng)
            noise = jax.random.normal(rng_known, x_t.shape, x_t.dtype)
            x_known = move.alpha_s * known + move.sigma_s * noise
            x_unknown = ancestral_step(denoise, x_t, at, rng_unknown, variance=variance)
            return mask * x_known + (1 - mask) * x_unknown

        def resample(x_t: Array, rng: Array) -> tuple[Array, None]:
            rng_step, rng_noise = jax.random.split(rng)
            noise = jax.random.normal(rng_noise, x_t.shape, x_t.dtype)
            x_s = denoised(x_t, rng_step)
            return (move.alpha_t / move.alpha_s) * x_s + jnp.sqrt(move.variance) * noise, None

        *rngs, rng_last = jax.random.split(rng, resamples)
        if rngs:
            x_t, _ = jax.lax.scan(resample, x_t, jnp.stack(rngs))
        return denoised(x_t, rng_last), None

    inputs = (posterior(schedule), moves, jax.random.split(rng, len(moves.t)))
    x, _ = jax.lax.scan(step, x, jax.tree.map(jnp.asarray, inputs))
    return x
