"""DPM-Solver++: a multistep exponential integrator of the probability flow in log-SNR."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from research.sampling.denoisers import Denoiser
from research.sampling.schedules import Schedule, transitions


def dpm_solver_2m(
    denoise: Denoiser, x: Float[Array, "B ..."], schedule: Schedule
) -> Float[Array, "B ..."]:
    """DPM-Solver++(2M), 2211.01095 Algorithm 2: second order at one denoiser call a step.

    With lambda = log(alpha / sigma), h the step in lambda and r the last step over this one,

        x_s = sigma_s / sigma_t x_t + alpha_s (1 - exp(-h)) D
        D = (1 + 1 / 2r) x_0(x_t) - 1 / 2r x_0(the x before)

    The first step has no x before it and the step to clean data has infinite h; both take the
    first-order D = x_0(x_t).
    """
    steps = transitions(schedule)
    h = np.diff(schedule.log_snr[::-1] / 2)
    half_inverse_r = np.concatenate([[0.0], h[1:] / (2 * h[:-1])])
    half_inverse_r[~np.isfinite(h)] = 0
    grid = (
        steps.t,
        steps.sigma_s / steps.sigma_t,
        -steps.alpha_s * np.expm1(-h),
        half_inverse_r,
    )

    def step(carry: tuple[Array, Array], now: Any) -> tuple[tuple[Array, Array], None]:
        x, x0_before = carry
        t, ratio, weight, half_inverse_r = now
        x0 = denoise(x, t).x0
        extrapolated = (1 + half_inverse_r) * x0 - half_inverse_r * x0_before
        return (ratio * x + weight * extrapolated, x0), None

    (x, _), _ = jax.lax.scan(step, (x, jnp.zeros_like(x)), grid)
    return x
