"""The weights of diffusion's squared error, by loss and by what the network predicts."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from research.sampling.schedules import Schedule

LOSSES = ("simple", "min_snr")


def simple_weight(loss: str, prediction: str, schedule: Schedule) -> Float[Array, " N"]:
    """The weight of the mean squared error of the network's output at each time.

    'simple' is 1 (2006.11239, eq. 14). 'min_snr' weighs the error of x_0 by min(SNR, 5)
    (2303.09556, eq. 5), which is min(SNR, 5) / SNR for eps and min(SNR, 5) / (SNR + 1) for v.
    """
    if loss != "min_snr":
        return jnp.ones(len(schedule.t))
    snr = np.exp(np.minimum(schedule.log_snr, 80))
    of_x0 = {"x0": 1, "eps": snr, "v": snr + 1}[prediction]
    return jnp.asarray(np.minimum(snr, 5) / of_x0, jnp.float32)
