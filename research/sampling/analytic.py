"""Denoisers in closed form, of Gaussians and mixtures: what a sampler can be held to."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from research.sampling.denoisers import Denoiser, Prediction
from research.sampling.schedules import Schedule

# level(t): alpha and sigma at what a schedule calls t.
Level = Callable[[Array], tuple[Array, Array]]


def gaussian(mean: Float[Array, " D"], covariance: Float[Array, "D D"], level: Level) -> Denoiser:
    """E[x_0 | x_t] for x_0 ~ N(mean, covariance), over x of shape (B, D)."""
    variances, basis = jnp.linalg.eigh(covariance)

    def denoise(x: Float[Array, "B D"], t: Array) -> Prediction:
        alpha, sigma = columns(level(t))
        gain = alpha * variances / (alpha**2 * variances + sigma**2)
        return Prediction(mean + (gain * ((x - alpha * mean) @ basis)) @ basis.T)

    return denoise


def gaussian_flow(
    x: Float[Array, "B D"],
    mean: Float[Array, " D"],
    covariance: Float[Array, "D D"],
    schedule: Schedule,
) -> Float[Array, "B D"]:
    """Where the probability flow takes x from the schedule's noisiest level to its cleanest.

    Along each eigenvector of the covariance, of variance v, (x_t - alpha mean) over
    sqrt(alpha^2 v + sigma^2) does not change.
    """
    variances, basis = jnp.linalg.eigh(covariance)

    def std(index: int) -> Array:
        return jnp.sqrt(schedule.alpha[index] ** 2 * variances + schedule.sigma[index] ** 2)

    centred = (x - schedule.alpha[-1] * mean) @ basis
    return schedule.alpha[0] * mean + (centred * std(0) / std(-1)) @ basis.T


def mixture(
    weights: Float[Array, " K"], means: Float[Array, "K D"], std: float, level: Level
) -> Denoiser:
    """E[x_0 | x_t] for a mixture of Gaussians of one isotropic standard deviation, x (B, D)."""

    def denoise(x: Float[Array, "B D"], t: Array) -> Prediction:
        alpha, sigma = columns(level(t))
        variance = alpha**2 * std**2 + sigma**2
        offsets_BxKxD = x[:, None] - alpha[..., None] * means
        logits = jnp.log(weights) - jnp.sum(offsets_BxKxD**2, axis=-1) / (2 * variance)
        x0_BxKxD = means + (alpha * std**2 / variance)[..., None] * offsets_BxKxD
        return Prediction(jnp.einsum("bk,bkd->bd", jax.nn.softmax(logits), x0_BxKxD))

    return denoise


def at_index(schedule: Schedule) -> Level:
    """The level of a discrete schedule, whose t are its indices."""

    def level(t: Array) -> tuple[Array, Array]:
        index = jnp.asarray(t).astype(jnp.int32)
        return jnp.asarray(schedule.alpha)[index], jnp.asarray(schedule.sigma)[index]

    return level


def at_sigma(t: Array) -> tuple[Array, Array]:
    """The level of a variance-exploding schedule, whose t is sigma."""
    return jnp.ones_like(t), jnp.asarray(t)


def at_log_snr(t: Array) -> tuple[Array, Array]:
    """The level of a variance-preserving schedule whose t is the log signal-to-noise ratio."""
    return jnp.sqrt(jax.nn.sigmoid(t)), jnp.sqrt(jax.nn.sigmoid(-t))


def columns(level: tuple[Array, Array]) -> tuple[Array, Array]:
    """alpha and sigma, scalars or (B,), with a last axis for (B, D) to broadcast against."""
    alpha, sigma = level
    return jnp.reshape(alpha, (-1, 1)), jnp.reshape(sigma, (-1, 1))
