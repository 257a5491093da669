"""EDM's sampler: Heun's method on the probability flow, with optional churn; and Euler's."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from research.sampling.denoisers import Denoiser
from research.sampling.schedules import Schedule, transitions


def heun(
    denoise: Denoiser,
    x: Float[Array, "B ..."],
    schedule: Schedule,
    rng: Key[Array, ""],
    *,
    churn: float = 0.0,
    churn_min: float = 0.0,
    churn_max: float = math.inf,
    churn_noise: float = 1.0,
) -> Float[Array, "B ..."]:
    """Solves dy/ds = (y - D(y; s)) / s for y = x / alpha, s = sigma / alpha (2206.00364).

    Algorithm 2; without churn, Algorithm 1. Two calls of the denoiser a step, one at the step to
    clean data. `churn` (S_churn) adds noise of scale `churn_noise` (S_noise) while churn_min <= s
    <= churn_max; it needs a schedule whose t is s, as `karras` is, and ValueError says so.
    """
    steps = transitions(schedule)
    s, s_next = steps.sigma_t / steps.alpha_t, steps.sigma_s / steps.alpha_s
    gamma = ((s >= churn_min) & (s <= churn_max)) * min(churn / len(s), math.sqrt(2) - 1)
    if churn and not (steps.t == s).all():
        raise ValueError("churn needs a schedule whose t is sigma and whose alpha is 1")
    t_hat = steps.t * (1 + gamma)
    t_next = schedule.t[-2::-1]

    def step(y: Array, now: Any, *, corrected: bool = True) -> tuple[Array, None]:
        (s, s_hat, s_next, t_hat, t_next, alpha, alpha_next), rng = now
        if churn:
            noise = churn_noise * jax.random.normal(rng, y.shape, y.dtype)
            y = y + jnp.sqrt(s_hat**2 - s**2) * noise
        slope = (y - denoise(alpha * y, t_hat).x0) / s_hat
        euler = y + (s_next - s_hat) * slope
        if not corrected:
            return euler, None
        slope_next = (euler - denoise(alpha_next * euler, t_next).x0) / s_next
        return y + (s_next - s_hat) * (slope + slope_next) / 2, None

    grid = (s, s * (1 + gamma), s_next, t_hat, t_next, steps.alpha_t, steps.alpha_s)
    inputs = (jax.tree.map(jnp.asarray, grid), jax.random.split(rng, len(s)))
    y = x / steps.alpha_t[0]
    if s_next[-1] > 0:
        y, _ = jax.lax.scan(step, y, inputs)
    else:
        y, _ = jax.lax.scan(step, y, jax.tree.map(lambda values: values[:-1], inputs))
        y, _ = step(y, jax.tree.map(lambda values: values[-1], inputs), corrected=False)
    return y * steps.alpha_s[-1]


def euler(denoise: Denoiser, x: Float[Array, "B ..."], schedule: Schedule) -> Float[Array, "B ..."]:
    """Euler's method on the same flow: Algorithm 1 without its lines 6-8."""
    steps = transitions(schedule)
    s, s_next = steps.sigma_t / steps.alpha_t, steps.sigma_s / steps.alpha_s

    def step(y: Array, now: Any) -> tuple[Array, None]:
        t, alpha, s, s_next = now
        slope = (y - denoise(alpha * y, t).x0) / s
        return y + (s_next - s) * slope, None

    y, _ = jax.lax.scan(step, x / steps.alpha_t[0], (steps.t, steps.alpha_t, s, s_next))
    return y * steps.alpha_s[-1]
