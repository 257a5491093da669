"""Mixtures of equal Gaussians in the plane, where collapsed modes are counted (1712.04086)."""

import dataclasses

import numpy as np
from jaxtyping import Float


@dataclasses.dataclass(frozen=True, eq=False)
class Mixture:
    """Gaussians of equal weight and deviation `std` around `centres` (K, D)."""

    centres: Float[np.ndarray, "K D"]
    std: float

    def draw(self, count: int, *, seed: int) -> Float[np.ndarray, "N D"]:
        """`count` points, the same for the same seed."""
        rng = np.random.default_rng(seed)
        chosen = self.centres[rng.integers(len(self.centres), size=count)]
        return chosen + self.std * rng.standard_normal(chosen.shape)


def ring(modes: int = 8, *, radius: float = 1.0, std: float = 0.01) -> Mixture:
    """Modes evenly on a circle around 0."""
    angles = 2 * np.pi * np.arange(modes) / modes
    return Mixture(radius * np.stack([np.cos(angles), np.sin(angles)], axis=1), std)


def grid(side: int = 5, *, spacing: float = 2.0, std: float = 0.05) -> Mixture:
    """side^2 modes on a square grid around 0."""
    places = spacing * (np.arange(side) - (side - 1) / 2)
    return Mixture(np.stack(np.meshgrid(places, places), axis=-1).reshape(-1, 2), std)


MIXTURES = {"ring": ring(), "grid": grid()}
