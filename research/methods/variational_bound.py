"""Diffusion's variational bound: its terms over a discrete schedule, and its continuous limit."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from research.sampling.ancestral import Variance, log_variance, posterior
from research.sampling.denoisers import Denoiser, Prediction
from research.sampling.schedules import Schedule
from research.training.rng import named
from research.training.types import Rng


def bits_per_dim(
    denoise: Denoiser,
    schedule: Schedule,
    x0: Float[Array, "B ..."],
    rng: Rng,
    *,
    levels: int,
    variance: Variance,
    terms: int,
) -> dict[str, Float[Array, " B"]]:
    """The bound -log p(x_0) <= L_T + sum L_t + L_0 in bits a dimension (2006.11239, eq. 5).

    `prior` is L_T, `decoder` L_0 and `diffusion` the sum over t = 2..T, estimated from `terms` of
    its T - 1 terms: one at random in each of as many equal strata (all of them when terms is
    T - 1 or more); `bits_per_dim` is their sum. `denoise` is given t of shape (B,). With
    `levels` bins the decoder is the discretised Gaussian of eq. 13.
    """
    T, B = len(schedule.t) - 1, len(x0)
    terms = min(terms, T - 1)

    def at(t: Array, rng: Rng) -> Array:
        x = noised(schedule, x0, t, jax.random.normal(rng, x0.shape))
        return bound_term(schedule, denoise(x, t), x0, x, t, levels=levels, variance=variance)

    def stratum(total: Array, now: Any) -> tuple[Array, None]:
        k, rng = now
        u = jax.random.uniform(named(rng, "t"), (B,))
        t = 2 + jnp.floor((k + u) * (T - 1) / terms).astype(jnp.int32)
        return total + at(jnp.minimum(t, T), named(rng, "eps")), None

    diffusion = jnp.zeros(B)
    if terms:
        rngs = jax.random.split(named(rng, "diffusion"), terms)
        diffusion, _ = jax.lax.scan(stratum, diffusion, (jnp.arange(terms), rngs))
        diffusion = diffusion * ((T - 1) / terms)
    parts = {
        "prior": prior_term(schedule, x0),
        "decoder": at(jnp.ones(B, jnp.int32), named(rng, "decoder")),
        "diffusion": diffusion,
    }
    return parts | {"bits_per_dim": sum(parts.values(), jnp.zeros(B))}


def bound_term(
    schedule: Schedule,
    prediction: Prediction,
    x0: Float[Array, "B ..."],
    x: Float[Array, "B ..."],
    t: Int[Array, " B"],
    *,
    levels: int,
    variance: Variance,
) -> Float[Array, " B"]:
    """The bound's term at t, in bits a dimension: L_{t-1} for t >= 2, L_0 for t = 1."""
    steps = posterior(schedule)
    index = len(steps.t) - t
    at = jax.tree.map(lambda values: column(values, index, x), steps)
    mean = at.weight_x * x + at.weight_x0 * prediction.x0
    log_var = log_variance(variance, prediction, at.log_beta, at.log_beta_tilde)
    log_var = jnp.broadcast_to(log_var, x.shape)
    true_mean = at.weight_x * x + at.weight_x0 * x0
    kl = gaussian_kl(true_mean, at.log_beta_tilde, mean, log_var)
    decoder = -discretised_log_likelihood(x0, mean, log_var, levels)
    return mean_bits(jnp.where(aligned(t == 1, x), decoder, kl))


def prior_term(schedule: Schedule, x0: Float[Array, "B ..."]) -> Float[Array, " B"]:
    """L_T = KL(q(x_T | x_0) || N(0, 1)) in bits a dimension."""
    mean = schedule.alpha[-1] * x0
    return mean_bits(gaussian_kl(mean, 2 * math.log(schedule.sigma[-1]), jnp.zeros(()), 0.0))


def gaussian_kl(
    mean: Array, log_var: Array | float, other_mean: Array, other_log_var: Array | float
) -> Array:
    """KL(N(mean, exp log_var) || N(other_mean, exp other_log_var)) in nats, element by element."""
    difference = log_var - other_log_var
    square = (mean - other_mean) ** 2 * jnp.exp(-other_log_var)
    return 0.5 * (jnp.expm1(difference) - difference + square)


def discretised_log_likelihood(x: Array, mean: Array, log_var: Array, levels: int) -> Array:
    """log of the normal's mass in x's bin, of `levels` bins centred on -1..1 (2006.11239, eq. 13).

    The first and last bins reach to infinity. In nats, element by element.
    """
    half, std = 1 / (levels - 1), jnp.exp(log_var / 2)
    # Both ends of the bin are moved to the lower tail, where log_ndtr keeps its digits.
    distance = -jnp.abs(x - mean)
    upper = jax.scipy.special.log_ndtr((distance + half) / std)
    lower = jax.scipy.special.log_ndtr((distance - half) / std)
    inner = upper + jnp.log(-jnp.expm1(jnp.minimum(lower - upper, -1e-7)))
    first = jax.scipy.special.log_ndtr((x + half - mean) / std)
    last = jax.scipy.special.log_ndtr((mean - x + half) / std)
    return jnp.where(x < -1 + half, first, jnp.where(x > 1 - half, last, inner))


def continuous_diffusion_loss(
    denoise: Denoiser,
    x0: Float[Array, "B ..."],
    rng: Rng,
    *,
    log_snr: Callable[[Array], Array],
    terms: int,
) -> Float[Array, " B"]:
    """The limit T -> infinity of the bound's middle terms, in bits a dimension (2107.00630).

    1/2 E[-lambda'(t) exp(lambda) |x_0 - x_0(x_t)|^2] over t in [0, 1] (eq. 17-18), from one time
    in each of `terms` equal strata. `log_snr` is lambda(t), decreasing, with a derivative;
    alpha^2 = sigmoid(lambda), and the denoiser is given lambda as its t, of shape (B,). Only
    lambda's ends, not its interior, move the expectation.
    """

    def stratum(total: Array, now: Any) -> tuple[Array, None]:
        k, rng = now
        t = (k + jax.random.uniform(named(rng, "t"), x0.shape[:1])) / terms
        value, slope = jax.vmap(jax.value_and_grad(log_snr))(t)
        alpha, sigma = jnp.sqrt(jax.nn.sigmoid(value)), jnp.sqrt(jax.nn.sigmoid(-value))
        eps = jax.random.normal(named(rng, "eps"), x0.shape)
        x = aligned(alpha, x0) * x0 + aligned(sigma, x0) * eps
        error = mean_bits((x0 - denoise(x, value).x0) ** 2)
        return total - 0.5 * slope * jnp.exp(value) * error, None

    rngs = jax.random.split(rng, terms)
    total, _ = jax.lax.scan(stratum, jnp.zeros(len(x0)), (jnp.arange(terms), rngs))
    return total / terms


def noised(schedule: Schedule, x0: Array, t: Array, eps: Array) -> Array:
    """x_t = alpha_t x_0 + sigma_t eps at the schedule's indices t (B,)."""
    return column(schedule.alpha, t, x0) * x0 + column(schedule.sigma, t, x0) * eps


def column(values: np.ndarray, index: Array, like: Array) -> Array:
    """values[index] for an index (B,), to broadcast against `like`."""
    return aligned(jnp.asarray(values)[index], like)


def aligned(values: Array, like: Array) -> Array:
    """values (B,) as (B, 1, ...), to broadcast against `like`."""
    return values.reshape(-1, *[1] * (like.ndim - 1))


def mean_bits(nats: Array) -> Float[Array, " B"]:
    """The mean over all but the first axis, in bits."""
    return jnp.mean(nats, axis=tuple(range(1, nats.ndim))) / math.log(2)
