"""Lower bounds on log p(x) from K samples of a Gaussian posterior: ELBO, beta-VAE and IWAE."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from research.training.types import Rng


class Terms(NamedTuple):
    """What the bounds are made of, in nats: z_k ~ q(z | x), and the prior p(z) is N(0, I)."""

    log_likelihood_BxK: Float[Array, "B K"]  # log p(x | z_k)
    log_ratio_BxK: Float[Array, "B K"]  # log q(z_k | x) - log p(z_k)
    kl_B: Float[Array, " B"]  # KL(q(z | x) || p(z)), in closed form


Bound = Callable[[Terms, float], Float[Array, " B"]]


def analytic_elbo(terms: Terms, beta: float = 1.0) -> Float[Array, " B"]:
    """The mean of log p(x | z_k) less beta KL (1312.6114, eq. 7; beta-VAE)."""
    return jnp.mean(terms.log_likelihood_BxK, axis=1) - beta * terms.kl_B


def sampled_elbo(terms: Terms, beta: float = 1.0) -> Float[Array, " B"]:
    """The mean of log p(x | z_k) - beta log q(z_k | x) / p(z_k) (1312.6114, eq. 6)."""
    return jnp.mean(log_weights(terms, beta), axis=1)


def importance_weighted(terms: Terms, beta: float = 1.0) -> Float[Array, " B"]:
    """The log of the K weights' mean (1509.00519, eq. 8); with K = 1 the sampled ELBO."""
    return log_mean_exp(log_weights(terms, beta))


BOUNDS: dict[str, Bound] = {
    "analytic": analytic_elbo,
    "sampled": sampled_elbo,
    "importance": importance_weighted,
}


def log_weights(terms: Terms, beta: float = 1.0) -> Float[Array, "B K"]:
    """log p(x | z_k) + beta log p(z_k) / q(z_k | x): at beta 1 the log importance weights."""
    return terms.log_likelihood_BxK - beta * terms.log_ratio_BxK


def log_mean_exp(x: Float[Array, "*B K"]) -> Float[Array, "*B"]:
    """The log of the mean of exp(x) over the last axis."""
    return jax.nn.logsumexp(x, axis=-1) - math.log(x.shape[-1])


def gaussian_kl(
    mean_BxL: Float[Array, "*B L"], log_std_BxL: Float[Array, "*B L"]
) -> Float[Array, "*B"]:
    """KL(N(mean, std^2) || N(0, I)) in nats (1312.6114, appendix B)."""
    variance = jnp.exp(2 * log_std_BxL)
    return jnp.sum(0.5 * (mean_BxL**2 + variance - 1) - log_std_BxL, axis=-1)


def gaussian_log_ratio(
    z_BxKxL: Float[Array, "B K L"],
    eps_BxKxL: Float[Array, "B K L"],
    log_std_BxL: Float[Array, "B L"],
) -> Float[Array, "B K"]:
    """log N(z; mean, std^2) - log N(z; 0, I) in nats, at z = mean + std * eps."""
    quadratic = jnp.sum(0.5 * (z_BxKxL**2 - eps_BxKxL**2), axis=-1)
    return quadratic - jnp.sum(log_std_BxL, axis=-1)[:, None]


def log_likelihood(
    log_weights: Callable[[Rng, int], Float[Array, "B K"]],
    rng: Rng,
    *,
    samples: int,
    chunk: int = 100,
) -> Float[Array, " B"]:
    """log p(x) by importance sampling, L_K at K = `samples` (1509.00519, section 5).

    `log_weights(rng, K)` draws K log weights; no more than `chunk` an example are in memory. The
    estimate is below log p(x) on average, by Var(w) / 2K of weights w of mean 1 to first order.
    """
    size = math.gcd(samples, chunk)
    log_sums_CxB = jax.lax.map(
        lambda rng: jax.nn.logsumexp(log_weights(rng, size), axis=1),
        jax.random.split(rng, samples // size),
    )
    return jax.nn.logsumexp(log_sums_CxB, axis=0) - math.log(samples)
