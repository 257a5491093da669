"""Precision, recall, density and coverage: manifolds as balls to the k-th nearest neighbour."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from research.errors import InputError

ROUNDING = 1e-12  # of squared distances, relative to the rows' squares
BLOCK = 1024  # rows whose distances are in memory at once


def precision(
    features_NxD: Float[np.ndarray, "N D"], reference_MxD: Float[np.ndarray, "M D"], *, k: int = 3
) -> float:
    """The share of features inside any reference ball (1904.06991, eq. 1-2), 0 to 1.

    A reference ball reaches from one reference row to its k-th nearest other one. Swapping the two
    sets gives the recall. Raises InputError unless the reference has more than k rows.
    """
    radii_M = radii(reference_MxD, k)
    inside = [
        (distances_BxM <= radii_M).any(axis=1)
        for distances_BxM in distances(features_NxD, reference_MxD)
    ]
    return float(np.concatenate(inside).mean())


def recall(
    features_NxD: Float[np.ndarray, "N D"], reference_MxD: Float[np.ndarray, "M D"], *, k: int = 3
) -> float:
    """The share of the reference inside any ball of the features (1904.06991, eq. 3), 0 to 1.

    Raises InputError unless there are more than k features.
    """
    return precision(reference_MxD, features_NxD, k=k)


def density(
    features_NxD: Float[np.ndarray, "N D"], reference_MxD: Float[np.ndarray, "M D"], *, k: int = 5
) -> float:
    """The number of reference balls a feature lies in, in units of k (2002.09797, eq. 4).

    0 or more, about 1 for two sets of one distribution and one size. Raises InputError unless the
    reference has more than k rows.
    """
    radii_M = radii(reference_MxD, k)
    balls = sum(
        np.count_nonzero(distances_BxM <= radii_M)
        for distances_BxM in distances(features_NxD, reference_MxD)
    )
    return balls / (k * len(features_NxD))


def coverage(
    features_NxD: Float[np.ndarray, "N D"], reference_MxD: Float[np.ndarray, "M D"], *, k: int = 5
) -> float:
    """The share of reference balls that hold a feature (2002.09797, eq. 5), 0 to 1.

    For two sets of one distribution and one size its mean is about 1 - 2^-k (section 3.3.2 there).
    Raises InputError unless the reference has more than k rows.
    """
    nearest = [d_BxN.min(axis=1) for d_BxN in distances(reference_MxD, features_NxD)]
    return float((np.concatenate(nearest) <= radii(reference_MxD, k)).mean())


def radii(features_NxD: Float[np.ndarray, "N D"], k: int) -> Float[np.ndarray, " N"]:
    """The distance of each row to its k-th nearest other row.

    Raises InputError unless 1 <= k < N.
    """
    if not 1 <= k < len(features_NxD):
        raise InputError(f"k={k} neighbours need more than {k} rows, here are {len(features_NxD)}")
    found = []
    for block, distances_BxN in enumerate(distances(features_NxD, features_NxD)):
        rows = np.arange(len(distances_BxN))
        distances_BxN[rows, BLOCK * block + rows] = np.inf  # no row is a neighbour of itself
        found.append(np.partition(distances_BxN, k - 1, axis=1)[:, k - 1])
    return np.concatenate(found)


def distances(
    x_NxD: Float[np.ndarray, "N D"], y_MxD: Float[np.ndarray, "M D"]
) -> Iterator[Float[np.ndarray, "B M"]]:
    """Euclidean distances of all rows, `BLOCK` rows of `x` at a time, in float64.

    Raises InputError for a row that is not finite, which would lie in every ball.
    """
    for rows in (x_NxD, y_MxD):
        if bad := np.count_nonzero(~np.isfinite(rows).all(axis=1)):
            raise InputError(f"{bad} of {len(rows)} rows of features are not finite")
    centre_D = y_MxD.mean(axis=0, dtype=np.float64)
    # |x|^2 + |y|^2 - 2 x^T y cancels badly for rows that are far from the origin.
    x_NxD, y_MxD = x_NxD - centre_D, y_MxD - centre_D
    y_squared_M = np.sum(y_MxD**2, axis=1)
    for start in range(0, len(x_NxD), BLOCK):
        x_BxD = x_NxD[start : start + BLOCK]
        sizes_BxM = np.sum(x_BxD**2, axis=1)[:, None] + y_squared_M
        squared_BxM = sizes_BxM - 2 * x_BxD @ y_MxD.T
        # What rounding leaves of equal rows is no distance: they lie in each other's empty balls.
        yield np.sqrt(np.where(squared_BxM > ROUNDING * sizes_BxM, squared_BxM, 0))
