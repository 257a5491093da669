"""Ancestral sampling: DDPM's Markov chain, with fixed or learned variances."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from research.sampling.denoisers import Denoiser
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
    On a respaced schedule beta is that of the longer step. The last step adds no noise.
    """
    steps = transitions(schedule)
    weight_x, weight_x0 = posterior_mean_weights(schedule)
    log_beta, log_beta_tilde = log_variances(schedule)
    add_noise = (steps.sigma_s > 0).astype(np.float64)

    def step(x: Array, now: Any) -> tuple[Array, None]:
        at, rng = now
        prediction = denoise(x, at["t"])
        mean = at["weight_x"] * x + at["weight_x0"] * prediction.x0
        fraction = {"beta": 1.0, "beta_tilde": 0.0, "learned": prediction.variance_fraction}
        log_variance = mix(at["log_beta"], at["log_beta_tilde"], fraction[variance])
        noise = at["add_noise"] * jnp.exp(log_variance / 2) * jax.random.normal(rng, x.shape)
        return mean + noise, None

    per_step = {
        "t": steps.t,
        "weight_x": weight_x,
        "weight_x0": weight_x0,
        "log_beta": log_beta,
        "log_beta_tilde": log_beta_tilde,
        "add_noise": add_noise,
    }
    x, _ = jax.lax.scan(step, x, (per_step, jax.random.split(rng, len(steps.t))))
    return x


def posterior_mean_weights(schedule: Schedule) -> tuple[Levels, Levels]:
    """The weights of x_t and x_0 in the mean of q(x_s | x_t, x_0), noisy to clean.

    2006.11239 eq. 7; in this general form 2107.00630 eq. 32.
    """
    s = transitions(schedule)
    weight_x = (s.alpha_t / s.alpha_s) * s.sigma_s**2 / s.sigma_t**2
    return weight_x, s.alpha_s * s.variance / s.sigma_t**2


def log_variances(schedule: Schedule) -> tuple[Levels, Levels]:
    """log beta and log beta-tilde of every step, noisy to clean.

    beta-tilde is 0 at the last step; as in improved DDPM's code it takes the step before's.
    """
    s = transitions(schedule)
    beta_tilde = s.variance * s.sigma_s**2 / s.sigma_t**2
    if len(beta_tilde) > 1 and beta_tilde[-1] == 0:
        beta_tilde[-1] = beta_tilde[-2]
    elif beta_tilde[-1] == 0:
        beta_tilde[-1] = s.variance[-1]
    return np.log(s.variance), np.log(beta_tilde)


def mix(log_beta: Array, log_beta_tilde: Array, fraction: Array | float | None) -> Array:
    """Improved DDPM's log-variance, eq. 15 of 2102.09672, for a fraction v in [0, 1]."""
    if fraction is None:
        raise ValueError("variance='learned' needs a denoiser with a variance_fraction")
    return fraction * log_beta + (1 - fraction) * log_beta_tilde
