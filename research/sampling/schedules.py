"""Noise schedules: what share of data and of noise is in x_t, and how to walk back from it."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

Levels = Float[np.ndarray, " N"]


class Schedule(NamedTuple):
    """Noise levels from clean to noisy: x_t = alpha x_0 + sigma eps at N times.

    `t` is what the denoiser is told, ascending; entry 0 is where samplers end, clean data (sigma 0)
    unless a solver is to be stopped short of it. All three are float64 arrays of the host: they
    are known before a run, and 1 - alpha^2 needs the digits.
    """

    t: Levels
    alpha: Levels
    sigma: Levels

    @property
    def log_snr(self) -> Levels:
        """log(alpha^2 / sigma^2), descending from +inf at clean data."""
        with np.errstate(divide="ignore"):
            return 2 * (np.log(self.alpha) - np.log(self.sigma))


def linear(timesteps: int) -> Schedule:
    """DDPM's linear betas, 1e-4 to 0.02 at 1000 steps (2006.11239, section 4).

    At other step counts betas scale by 1000 / timesteps, as improved DDPM's do (at most 0.999).
    """
    scale = 1000 / timesteps
    return from_betas(np.linspace(1e-4 * scale, 0.02 * scale, timesteps))


def cosine(timesteps: int) -> Schedule:
    """Improved DDPM's cosine alpha-bar with s = 0.008, betas at most 0.999 (2102.09672, eq. 17)."""
    u = np.arange(timesteps + 1) / timesteps
    f = np.cos((u + 0.008) / 1.008 * np.pi / 2) ** 2
    return from_betas(1 - f[1:] / f[:-1])


def from_betas(betas: Float[np.ndarray, " T"]) -> Schedule:
    """The schedule of times 0..T with alpha-bar_t = prod (1 - beta), alpha-bar_0 = 1."""
    log_alpha_bar = np.concatenate([[0.0], np.cumsum(np.log1p(-np.minimum(betas, 0.999)))])
    t = np.arange(len(betas) + 1, dtype=np.float64)
    return Schedule(t, np.exp(log_alpha_bar / 2), np.sqrt(np.abs(np.expm1(log_alpha_bar))))


def respaced(schedule: Schedule, steps: int) -> Schedule:
    """`steps` + 1 of the schedule's levels, evenly spaced, with both its ends."""
    index = np.round(np.linspace(0, len(schedule.t) - 1, steps + 1)).astype(int)
    return Schedule(*(values[index] for values in schedule))


def karras(
    steps: int, *, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0
) -> Schedule:
    """EDM's sigmas, `steps` of them evenly spaced in sigma^(1/rho), and 0 (2206.00364, eq. 5).

    alpha is 1 everywhere and t is sigma.
    """
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    sigma = np.linspace(high, low, steps)[::-1] ** rho
    return exploding(np.concatenate([[0.0], sigma]))


def exploding(sigma: Levels) -> Schedule:
    """The variance-exploding schedule x_sigma = x_0 + sigma eps, with t = sigma, ascending."""
    return Schedule(sigma, np.ones_like(sigma), sigma)


class Transitions(NamedTuple):
    """The N - 1 steps of a schedule from noisy to clean, each from time t to the cleaner time s.

    `variance` is that of q(x_t | x_s): beta_t in DDPM, sigma^2_{t|s} in VDM (2107.00630, eq. 30).
    """

    t: Levels
    alpha_t: Levels
    sigma_t: Levels
    alpha_s: Levels
    sigma_s: Levels
    variance: Levels


def transitions(schedule: Schedule) -> Transitions:
    """The steps by which a sampler walks back through `schedule`."""
    t, alpha, sigma = (values[::-1] for values in schedule)
    variance = sigma[:-1] ** 2 - (alpha[:-1] / alpha[1:]) ** 2 * sigma[1:] ** 2
    return Transitions(t[:-1], alpha[:-1], sigma[:-1], alpha[1:], sigma[1:], variance)
