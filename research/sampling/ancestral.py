"""Ancestral sampling: DDPM's Markov chain, with fixed or learned variances."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from research.sampling.denoisers import Denoiser, Prediction
from research.sampling.schedules import Levels, Schedule, transitions

Variance = Literal["beta", "beta_tilde", "learned"]


def ancestral(
    denoise: Denoiser,
    x: Float[Array, "B ..."],
    schedule: Schedule,
    rng: Key[Array, ""],
    *,
    variance: Variance = "beta_tilde",
) -> Float[Array, "B ..."]:
    """Draws from p(x_0) starting at x ~ p(x_T) (2006.11239, Algorithm 2).

    The mean is the posterior's (eq. 7) at the denoiser's x_0. The variance is beta_t, beta-tilde_t
    (eq. 7; the two of section 3.2), or between them as the denoiser says (2102.09672, eq. 15).
    On a respaced schedule beta is that of the longer step. The step to clean data adds no noise.
    """

    def step(x: Array, now: Any) -> tuple[Array, None]:
        at, rng = now
        return ancestral_step(denoise, x, at, rng, variance=variance), None

    steps = posterior(schedule)
    x, _ = jax.lax.scan(step, x, (steps, jax.random.split(rng, len(steps.t))))
    return x


class Posterior(NamedTuple):
    """q(x_s | x_t, x_0) of every step of a schedule, noisy to clean (2107.00630, eq. 29-32).

    Its mean is weight_x x_t + weight_x0 x_0. beta is the variance of q(x_t | x_s) and beta-tilde
    that of q(x_s | x_t, x_0); the latter is 0 when s is clean data, where as in improved DDPM's
    code the step before's stands in. `noisy` is 0 there and 1 elsewhere.
    """

    t: Levels
    weight_x: Levels
    weight_x0: Levels
    log_beta: Levels
    log_beta_tilde: Levels
    noisy: Levels


def posterior(schedule: Schedule) -> Posterior:
    """The posterior of each of the schedule's steps; DDPM's eq. 7 when no level is left out."""
    s = transitions(schedule)
    beta_tilde = s.variance * s.sigma_s**2 / s.sigma_t**2
    if beta_tilde[-1] == 0:
        beta_tilde[-1] = beta_tilde[-2] if len(beta_tilde) > 1 else s.variance[-1]
    return Posterior(
        t=s.t,
        weight_x=(s.alpha_t / s.alpha_s) * s.sigma_s**2 / s.sigma_t**2,
        weight_x0=s.alpha_s * s.variance / s.sigma_t**2,
        log_beta=np.log(s.variance),
        log_beta_tilde=np.log(beta_tilde),
        noisy=(s.sigma_s > 0).astype(np.float64),
    )


def ancestral_step(
    denoise: Denoiser, x: Array, at: Any, rng: Key[Array, ""], *, variance: Variance
) -> Array:
    """One draw from p(x_s | x_t), `at` being the posterior's entry for this step."""
    prediction = denoise(x, at.t)
    mean = at.weight_x * x + at.weight_x0 * prediction.x0
    std = jnp.exp(log_variance(variance, prediction, at.log_beta, at.log_beta_tilde) / 2)
    return mean + at.noisy * std * jax.random.normal(rng, x.shape, x.dtype)


def log_variance(
    variance: Variance, prediction: Prediction, log_beta: Array, log_beta_tilde: Array
) -> Array:
    """The log-variance of p(x_s | x_t): fixed, or v log beta + (1 - v) log beta-tilde.

    The learned one is 2102.09672 eq. 15 with v the prediction's `variance_fraction`.
    """
    if variance == "learned":
        fraction: Any = prediction.variance_fraction
        return fraction * log_beta + (1 - fraction) * log_beta_tilde
    return log_beta if variance == "beta" else log_beta_tilde
