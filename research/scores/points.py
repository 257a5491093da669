"""Scores of points: how many of a mixture's modes they cover, and how well (1712.04086)."""

import numpy as np
from jaxtyping import Float

from research.data.mixtures import Mixture
from research.evaluation.modes import DEVIATIONS, baselines, mode_scores
from research.scores.table import Better, Score

BETTER: dict[str, Better] = {"modes": "higher", "high_quality": "higher", "reverse_kl": "lower"}


def score_points(
    samples: Float[np.ndarray, "N D"], mixture: Mixture, *, seed: int = 0
) -> list[Score]:
    """Modes covered, share of high quality and reverse KL, beside the mixture's own draws' scores.

    `seed` draws those and the baselines, as many as the samples are. Raises InputError unless the
    samples are finite, and two or more.
    """
    count = len(samples)
    real = mixture.draw(count, seed=seed)
    sets = {"ours": samples, "floor": real} | baselines(real, count, seed=seed)
    found = {
        name: mode_scores(points, mixture.centres, mixture.std) for name, points in sets.items()
    }
    ours, floor = found.pop("ours"), found.pop("floor")
    return [
        Score(
            metric=f"{metric}[of={len(mixture.centres)},n={count},{DEVIATIONS:g} std]",
            value=ours[metric],
            floor=floor[metric],
            baselines={name: scores[metric] for name, scores in found.items()},
            better=better,
            sample_count=count,
        )
        for metric, better in BETTER.items()
    ]
