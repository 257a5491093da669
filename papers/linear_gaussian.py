"""A linear VAE whose log p(x), posterior and ELBO are known, which claims measure ours against."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy
from jaxtyping import Array, Float

from research.methods.vae import VAE
from research.networks.mlp import MLPDecoder, MLPEncoder
from research.training.types import Params

PIXELS, LATENT, COUNT = 6, 2, 5


class Model(NamedTuple):
    """x = z W + noise, z ~ N(0, I), and a q(z | x) that is near the posterior and not it."""

    vae: VAE
    params: Params
    x: Float[Array, "B H W C"]
    log_p_B: np.ndarray  # log p(x), in nats
    gap_B: np.ndarray  # KL(q(z | x) || p(z | x)), in nats


def vae(pixels: int, latent: int, **arguments: Any) -> VAE:
    """A VAE with linear networks and Gaussian pixels (pixels, 1, 1) of a learned variance."""
    shape = (pixels, 1, 1)
    networks = {"encoder": MLPEncoder(latent, ()), "decoder": MLPDecoder(shape, ())}
    return VAE(
        networks=networks,
        optimizer=optax.identity(),
        image_shape=shape,
        levels=256,
        likelihood="gaussian",
        **arguments,
    )


def linear_params(
    *, to_mean: Any, mean_bias: Any, log_std: Any, weight: Any, bias: Any, log_noise: Any
) -> Params:
    """The linear VAE's parameters; q's deviation is the same at every x."""
    return {
        "encoder": {
            "mean": {"kernel": to_mean, "bias": mean_bias},
            "log_std": {"kernel": jnp.zeros_like(to_mean), "bias": log_std},
        },
        "decoder": {"mlp": {"out": {"kernel": weight, "bias": bias}}},
        "likelihood": {"log_std": log_noise},
    }


def model(seed: int, *, noise: float = 0.7) -> Model:
    """A model and `COUNT` data of it, drawn by `seed`; float64 where JAX has it switched on."""
    rng = np.random.default_rng(seed)
    weight_LxD = rng.normal(size=(LATENT, PIXELS))
    z = rng.normal(size=(COUNT, LATENT))
    x_BxD = z @ weight_LxD + noise * rng.normal(size=(COUNT, PIXELS))
    precision = np.eye(LATENT) + weight_LxD @ weight_LxD.T / noise**2
    to_posterior_DxL = np.linalg.solve(precision, weight_LxD).T / noise**2
    to_mean_DxL = to_posterior_DxL + 0.05 * rng.normal(size=(PIXELS, LATENT))
    variance = 1.5 / np.diag(precision)
    offset_BxL = x_BxD @ (to_mean_DxL - to_posterior_DxL)
    gap_B = 0.5 * (
        variance @ np.diag(precision)
        + np.einsum("bi,ij,bj->b", offset_BxL, precision, offset_BxL)
        - LATENT
        - np.linalg.slogdet(precision)[1]
        - np.log(variance).sum()
    )
    params = linear_params(
        to_mean=jnp.asarray(to_mean_DxL),
        mean_bias=jnp.zeros(LATENT),
        log_std=jnp.asarray(0.5 * np.log(variance)),
        weight=jnp.asarray(weight_LxD),
        bias=jnp.zeros(PIXELS),
        log_noise=jnp.asarray(math.log(noise)),
    )
    covariance = weight_LxD.T @ weight_LxD + noise**2 * np.eye(PIXELS)
    log_p = scipy.stats.multivariate_normal(np.zeros(PIXELS), covariance).logpdf
    x = jnp.asarray(x_BxD.reshape(COUNT, PIXELS, 1, 1))
    return Model(vae(PIXELS, LATENT), params, x, log_p(x_BxD), gap_B)


def sigma_points(batch: int, latent: int = LATENT) -> Float[Array, "B K L"]:
    """2 L points whose mean of a quadratic is its exact expectation over N(0, I)."""
    points = math.sqrt(latent) * np.concatenate([np.eye(latent), -np.eye(latent)])
    return jnp.broadcast_to(jnp.asarray(points), (batch, *points.shape))


def normal(rng: Any, count: int) -> Float[Array, "B K L"]:
    """`count` draws from N(0, I) for each of the model's data."""
    return jax.random.normal(rng, (COUNT, count, LATENT))
