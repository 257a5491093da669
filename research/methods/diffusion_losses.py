"""Diffusion's training losses at given times: simple, min-SNR, hybrid and the bound itself."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from research.methods.variational_bound import bound_term, column
from research.sampling.denoisers import Prediction, target, to_x0
from research.sampling.schedules import Schedule

LOSSES = ("simple", "min_snr", "hybrid", "vlb")
LEARNED_VARIANCE = ("hybrid", "vlb")


def squared_error(
    kind: str,
    output: Float[Array, "B ..."],
    schedule: Schedule,
    x0: Float[Array, "B ..."],
    eps: Float[Array, "B ..."],
    t: Int[Array, " B"],
) -> Float[Array, " B"]:
    """The mean squared error of an output of the given kind (eps, x0, v)."""
    alpha, sigma = column(schedule.alpha, t, x0), column(schedule.sigma, t, x0)
    error = output - target(kind, x0, eps, alpha, sigma)
    return jnp.mean(error**2, axis=tuple(range(1, x0.ndim)))


def weight(loss: str, kind: str, schedule: Schedule) -> Float[Array, " N"]:
    """The weight of the squared error of an output of the given kind, at each time.

    1 for L_simple (2006.11239, eq. 14). 'min_snr' weighs the error of x_0 by min(SNR, 5)
    (2303.09556, section 3.4), which is min(SNR, 5) / SNR for eps and min(SNR, 5) / (SNR + 1) for v.
    """
    if loss != "min_snr":
        return jnp.ones(len(schedule.t))
    snr = np.exp(np.minimum(schedule.log_snr, 80))
    of_x0 = {"x0": 1, "eps": snr, "v": snr + 1}[kind]
    return jnp.asarray(np.minimum(snr, 5) / of_x0, jnp.float32)


def bound_loss(
    loss: str,
    prediction: Prediction,
    schedule: Schedule,
    x0: Float[Array, "B ..."],
    x: Float[Array, "B ..."],
    t: Int[Array, " B"],
    *,
    levels: int,
) -> Float[Array, " B"]:
    """The bound in the losses with a learned variance, estimated at t uniform in 1..T.

    'vlb' is T L_t in bits a dimension. 'hybrid' is what is added to the simple loss: 0.001 of
    it, with the mean held fixed so that only the variance learns from it (2102.09672, eq. 16).
    """
    if loss == "hybrid":
        prediction = prediction._replace(x0=jax.lax.stop_gradient(prediction.x0))
    term = bound_term(schedule, prediction, x0, x, t, levels=levels, variance="learned")
    return (len(schedule.t) - 1) * term * (0.001 if loss == "hybrid" else 1)


def predicted(
    kind: str,
    output: Float[Array, "B ..."],
    schedule: Schedule,
    x: Float[Array, "B ..."],
    t: Int[Array, " B"],
    *,
    learned_variance: bool,
) -> Prediction:
    """A network's output at x_t as x_0 and, from a second half of channels, the variance.

    An output v of the second half stands for the fraction (v + 1) / 2, as in improved DDPM's code.
    """
    fraction = None
    if learned_variance:
        output, v = jnp.split(output, 2, axis=-1)
        fraction = (v + 1) / 2
    alpha, sigma = column(schedule.alpha, t, x), column(schedule.sigma, t, x)
    return Prediction(to_x0(kind, output, x, alpha, sigma), fraction)
