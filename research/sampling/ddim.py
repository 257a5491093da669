"""DDIM: implicit sampling with a free amount of noise, from DDPM's (eta 1) to none (eta 0)."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Key

from research.errors import InputError
from research.sampling.denoisers import Denoiser
from research.sampling.schedules import Schedule, transitions


def ddim(
    denoise: Denoiser,
    x: Float[Array, "B ..."],
    schedule: Schedule,
    rng: Key[Array, ""],
    *,
    eta: float = 0.0,
) -> Float[Array, "B ..."]:
    """Walks from x ~ p(x_T) to x_0 by 2010.02502 eq. 12, its sigma set by `eta` as in eq. 16.

    eta 0 is the deterministic map, Euler's method on the probability flow in sigma / alpha
    (eq. 14); eta 1 is ancestral sampling with the variance beta-tilde. Raises InputError for an
    eta beyond these: more noise than a level holds.
    """
    if not 0 <= eta <= 1:
        raise InputError(f"eta={eta:g} must lie in 0..1")
    steps = transitions(schedule)
    noise = eta * steps.sigma_s / steps.sigma_t * np.sqrt(steps.variance)
    per_step = {
        "t": steps.t,
        "alpha_t": steps.alpha_t,
        "sigma_t": steps.sigma_t,
        "alpha_s": steps.alpha_s,
        "noise": noise,
        "direction": np.sqrt(np.maximum(steps.sigma_s**2 - noise**2, 0)),
    }

    def step(x: Array, now: Any) -> tuple[Array, None]:
        at, rng = now
        x0 = denoise(x, at["t"]).x0
        eps = (x - at["alpha_t"] * x0) / at["sigma_t"]
        x = at["alpha_s"] * x0 + at["direction"] * eps
        return x + at["noise"] * jax.random.normal(rng, x.shape), None

    x, _ = jax.lax.scan(step, x, (per_step, jax.random.split(rng, len(steps.t))))
    return x
