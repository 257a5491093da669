"""The denoiser that every sampler takes, and the three parametrisations of its output."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float


class Prediction(NamedTuple):
    """What a denoiser sees in x_t: the clean x_0, and for a learned variance its place.

    `variance_fraction` v in [0, 1] mixes log beta (v = 1) and log beta-tilde (v = 0), as improved
    DDPM's eq. 15 does; None where the variance is fixed. The noise is (x_t - alpha x_0) / sigma.
    """

    x0: Array
    variance_fraction: Array | None = None


# denoise(x_t, t): x_t (B, ...), t a scalar of the schedule's `t`; x0 is (B, ...).
Denoiser = Callable[[Array, Array], Prediction]

PREDICTIONS = ("eps", "x0", "v")


def to_x0(kind: str, output: Array, x: Array, alpha: Array, sigma: Array) -> Array:
    """x_0 from a network's output of the given kind at x = alpha x_0 + sigma eps.

    v = alpha eps - sigma x_0 (2202.00512, appendix D), at alpha^2 + sigma^2 = 1.
    """
    if kind == "eps":
        return (x - sigma * output) / alpha
    if kind == "v":
        return alpha * x - sigma * output
    return output


def target(kind: str, x0: Array, eps: Array, alpha: Array, sigma: Array) -> Array:
    """What a network of the given kind should output."""
    return {"eps": eps, "x0": x0, "v": alpha * eps - sigma * x0}[kind]


def clipped(denoise: Denoiser) -> Denoiser:
    """The denoiser with x_0 clipped to the range of images, [-1, 1]."""

    def clip(x: Float[Array, "B ..."], t: Array) -> Prediction:
        prediction = denoise(x, t)
        return prediction._replace(x0=jnp.clip(prediction.x0, -1, 1))

    return clip
