"""The linear VAE's claims: its optimum is probabilistic PCA's, and is found from any start."""

import functools
import math
from typing import NamedTuple

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import scipy

from papers import linear_gaussian
from papers.ledger import Claim
from papers.rules import Measurement, identity, violated
from research.data import datasets
from research.data.scaling import scaled
from research.methods.importance_bounds import analytic_elbo

LATENT = 8
START = 0.1  # deviation of the first weights


class Optimum(NamedTuple):
    """Where a search of the ELBO's maximum ended; nats an image."""

    elbo: float
    start: float
    weight_LxD: np.ndarray


def measure_likelihood(seed: int) -> Measurement:
    """The best ELBO found from a random start beside pPCA's log-likelihood, nats an image."""
    found, best = optimum(seed), ppca_log_likelihood(LATENT)
    return {
        "gap": best - found.elbo,
        "gap_at_start": best - found.start,
        "gap_of_collapse": best - ppca_log_likelihood(0),
        "ppca": best,
    }


def measure_directions(seed: int) -> Measurement:
    """How far the decoder's columns, and a random rotation of them, are from principal directions.

    The sine of the angle to the nearest principal direction, the worst column's.
    """
    weight_LxD = optimum(seed).weight_LxD
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(LATENT, LATENT)))[0]
    return {
        "sine": largest_sine(weight_LxD),
        "sine_of_rotated": largest_sine(rotation @ weight_LxD),
    }


@functools.cache
def optimum(seed: int) -> Optimum:
    """The maximum of the whole data's ELBO by L-BFGS from random weights, in float64."""
    x = images()
    rng = np.random.default_rng(seed)
    with jax.enable_x64(True):
        made = linear_gaussian.vae(x.shape[1], LATENT)
        start, unflatten = jax.flatten_util.ravel_pytree(
            {
                "to_mean": jnp.asarray(START * rng.normal(size=(x.shape[1], LATENT))),
                "mean_bias": jnp.zeros(LATENT),
                "log_std": jnp.zeros(LATENT),
                "weight": jnp.asarray(START * rng.normal(size=(LATENT, x.shape[1]))),
                "bias": jnp.zeros(x.shape[1]),
                "log_noise": jnp.zeros(()),
            }
        )
        data, points = jnp.asarray(x), linear_gaussian.sigma_points(len(x), LATENT)

        def loss(flat: jax.Array) -> jax.Array:
            params = linear_gaussian.linear_params(**unflatten(flat))
            return -jnp.mean(analytic_elbo(made.terms(params, data, points)))

        value_and_grad = jax.jit(jax.value_and_grad(loss))
        result = scipy.optimize.minimize(
            lambda flat: tuple(np.asarray(part) for part in value_and_grad(jnp.asarray(flat))),
            np.asarray(start),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": 20_000, "maxfun": 20_000, "ftol": 1e-15, "gtol": 1e-7},
        )
        weight_LxD = np.asarray(unflatten(jnp.asarray(result.x))["weight"])
        return Optimum(-float(result.fun), -float(loss(start)), weight_LxD)


@functools.cache
def images() -> np.ndarray:
    """The training digits in [-1, 1], (N, 64, 1, 1), as points of equal mean and covariance.

    With linear networks the ELBO is a quadratic of x, so its mean over 2 D such points is that
    over the data.
    """
    mean_D, values, directions_DxD = moments()
    spread_DxD = math.sqrt(len(values)) * (directions_DxD * np.sqrt(values.clip(0))).T
    return (mean_D + np.concatenate([spread_DxD, -spread_DxD]))[..., None, None]


@functools.cache
def moments() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The data's mean, and its covariance's eigenvalues, falling, and eigenvectors in columns."""
    train = datasets.load("digits", "train")
    x_NxD = scaled(train.arrays()["image"], 17).reshape(len(train), -1).astype(np.float64)
    values, directions = np.linalg.eigh(np.cov(x_NxD.T, bias=True))
    return x_NxD.mean(axis=0), values[::-1], directions[:, ::-1]


def ppca_log_likelihood(latent: int) -> float:
    """The largest log-likelihood of probabilistic PCA, nats an image (Tipping and Bishop, 1999)."""
    values = moments()[1]
    dims, noise = len(values), values[latent:].mean()
    log_determinant = np.log(values[:latent]).sum() + (dims - latent) * np.log(noise)
    return float(-0.5 * (dims * np.log(2 * np.pi) + log_determinant + dims))


def largest_sine(weight_LxD: np.ndarray) -> float:
    """Of the angles between rows of W and as many first eigenvectors, each given to one row."""
    unit = weight_LxD / np.linalg.norm(weight_LxD, axis=1, keepdims=True)
    cosine_LxL = abs(unit @ moments()[2][:, : len(unit)])
    cosine = cosine_LxL[scipy.optimize.linear_sum_assignment(-cosine_LxL)]
    return float(np.sqrt(1 - np.minimum(cosine, 1) ** 2).max())


PROTOCOL = (
    f"scikit-learn's digits, 64 pixels in [-1, 1], {LATENT} latents, learned noise; the training "
    "set's exact ELBO (sigma points) by L-BFGS in float64, each seed another random start. "
)
SETTINGS = {"data": "digits", "latent": LATENT, "start": START}
CLAIMS = [
    Claim(
        id="linear_vae.likelihood",
        statement="The linear VAE's global maximum is pPCA's maximum likelihood, and the ELBO adds "
        "no spurious local maxima.",
        source="section 4, theorem 1",
        figure="identity, gap 0 [V in words]",
        figures={"gap": 0},
        kind="exact",
        protocol=PROTOCOL + "pPCA's closed form less the ELBO reached, nats an image.",
        measure=measure_likelihood,
        rules=[
            identity("gap", 0, tolerance=0.01),
            violated("gap_of_collapse", least=1),
        ],
        seeds=5,
        ours=["gap"],
        baseline=["gap_of_collapse", "gap_at_start"],
        settings=SETTINGS,
    ),
    Claim(
        id="linear_vae.directions",
        statement="At the maximum with a diagonal posterior the decoder's columns are principal "
        "directions, which pPCA leaves free up to a rotation.",
        source="section 4.2, corollary 1",
        figure="identity, angle 0 [M]",
        figures={"sine": 0},
        kind="exact",
        protocol=PROTOCOL + "The worst column's sine of the angle to its eigenvector, one of the "
        f"first {LATENT}, each given to one column.",
        measure=measure_directions,
        rules=[
            identity("sine", 0, tolerance=0.05),
            violated("sine_of_rotated", least=0.2),
        ],
        seeds=5,
        ours=["sine"],
        baseline=["sine_of_rotated"],
        settings=SETTINGS,
        version=2,
    ),
]
