"""The kernel distance: an unbiased squared maximum mean discrepancy of two sets of features."""

import numpy as np
from jaxtyping import Float

from research.errors import InputError

BLOCK = 1024  # rows whose kernel values are in memory at once


def kernel_distance(
    features_NxD: Float[np.ndarray, "N D"], reference_MxD: Float[np.ndarray, "M D"]
) -> float:
    """Unbiased MMD^2 under the kernel (x^T y / D + 1)^3 (1801.01401, section 4).

    Its mean over draws does not depend on N and M, and is 0 for two sets of one distribution, so a
    single value may be negative. All pairs are used, not a mean over subsets.

    Raises:
      InputError: a set has fewer than two rows.
    """
    for set_ in (features_NxD, reference_MxD):
        if len(set_) < 2:
            raise InputError(
                f"a kernel distance needs two rows or more a set, here are {len(set_)}"
            )
    x_NxD, y_MxD = features_NxD.astype(np.float64), reference_MxD.astype(np.float64)
    return mean_of_pairs(x_NxD) + mean_of_pairs(y_MxD) - 2 * mean_between(x_NxD, y_MxD)


def mean_of_pairs(x_NxD: Float[np.ndarray, "N D"]) -> float:
    """The kernel's mean over the ordered pairs of two different rows."""
    count, width = x_NxD.shape
    own = np.sum(cubed(np.sum(x_NxD**2, axis=1) / width + 1))
    return float((mean_between(x_NxD, x_NxD) * count**2 - own) / (count * (count - 1)))


def mean_between(x_NxD: Float[np.ndarray, "N D"], y_MxD: Float[np.ndarray, "M D"]) -> float:
    """The kernel's mean over all pairs of a row of `x` and a row of `y`."""
    width = x_NxD.shape[1]
    total = 0.0
    for start in range(0, len(x_NxD), BLOCK):
        total += np.sum(cubed(x_NxD[start : start + BLOCK] @ y_MxD.T / width + 1))
    return float(total / (len(x_NxD) * len(y_MxD)))


def cubed(x: np.ndarray) -> np.ndarray:
    """x^3; numpy's power takes ten times as long."""
    return x * x * x
