"""Mode coverage of points against a mixture of Gaussians: modes, quality, reverse divergence."""

import numpy as np
import scipy
from jaxtyping import Float, Int

from research.errors import InputError

DEVIATIONS = 3.0  # a sample is of high quality strictly within as many

Points = Float[np.ndarray, "N D"]
Centres = Float[np.ndarray, "K D"]


def mode_scores(points: Points, centres: Centres, std: float) -> dict[str, float]:
    """`modes`, `high_quality` and `reverse_kl` as PacGAN measures them (1712.04086, section 4.1).

    A point belongs to its nearest centre and is of high quality strictly within 3 `std` of it. A
    mode is covered by one such point. `reverse_kl` is KL(q || uniform) in nats, of the share q of
    the high-quality points that each mode has: 0 when they are shared evenly, log K for one mode
    alone; and log K without any, as nothing is then covered evenly.

    Raises:
      InputError: there are no points, or not all are finite.
    """
    counts_K = mode_counts(points, centres, std)
    good = counts_K.sum()
    entropy = scipy.stats.entropy(counts_K) if good else 0.0
    return {
        "modes": float(np.count_nonzero(counts_K)),
        "high_quality": float(good / len(points)),
        "reverse_kl": float(np.log(len(counts_K)) - entropy),
    }


def mode_counts(points: Points, centres: Centres, std: float) -> Int[np.ndarray, " K"]:
    """How many high-quality points each centre has. Raises InputError as `mode_scores` does."""
    if not len(points) or not np.isfinite(points).all():
        raise InputError(f"{len(points)} points, all finite, were expected: nothing to score")
    offsets_NxKxD = points.astype(np.float64)[:, None] - centres
    distances_NxK = np.sqrt(np.sum(offsets_NxKxD**2, axis=-1)) / std
    nearest_N = distances_NxK.argmin(axis=1)
    is_good_N = distances_NxK.min(axis=1) < DEVIATIONS
    return np.bincount(nearest_N[is_good_N], minlength=len(centres))


def baselines(
    points: Points, count: int, *, seed: int
) -> dict[str, Float[np.ndarray, "{count} D"]]:
    """Trivial samplers of `count` points: one Gaussian fitted to `points`, and one point's copy.

    Raises InputError for fewer than two points, which have no covariance.
    """
    if len(points) < 2:
        raise InputError(f"a Gaussian is fitted to 2 points or more, there is {len(points)}")
    rng = np.random.default_rng(seed)
    gaussian = rng.multivariate_normal(points.mean(axis=0), np.cov(points.T), count)
    return {"one_gaussian": gaussian, "one_point": np.repeat(points[:1], count, axis=0)}
