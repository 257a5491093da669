"""The Frechet distance between the Gaussians fitted to two sets of features."""

from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Float

from research.errors import InputError


def frechet_distance(
    features_NxD: Float[np.ndarray, "N D"], reference_MxD: Float[np.ndarray, "M D"]
) -> float:
    """|mu_1 - mu_2|^2 + tr(C_1 + C_2 - 2 (C_1 C_2)^(1/2)), at least 0, lower is nearer.

    The squared 2-Wasserstein distance of two Gaussians (Dowson and Landau, 1982). With Inception's
    features it is the FID of 1706.08500; with any other features it must not be called so. It is
    biased in N and M: compare only at equal counts.

    Raises:
      InputError: a set has fewer than two rows.
    """
    return gaussian_distance(fit_gaussian(features_NxD), fit_gaussian(reference_MxD))


class Gaussian(NamedTuple):
    """A mean and an upper triangular root R of the covariance, C = R^T R."""

    mean_D: Float[np.ndarray, " D"]
    root_RxD: Float[np.ndarray, "R D"]


def fit_gaussian(features_NxD: Float[np.ndarray, "N D"]) -> Gaussian:
    """The sample mean and unbiased covariance, in float64.

    Raises:
      InputError: there are fewer than two rows.
    """
    count = len(features_NxD)
    if count < 2:
        raise InputError(f"a covariance needs two feature vectors or more, here are {count}")
    features_NxD = features_NxD.astype(np.float64)
    mean_D = features_NxD.mean(axis=0)
    # The root comes from the data: the root of a computed covariance loses half the digits.
    (root_RxD,) = scipy.linalg.qr((features_NxD - mean_D) / np.sqrt(count - 1), mode="r")
    return Gaussian(mean_D, root_RxD[: features_NxD.shape[1]])


def gaussian_distance(one: Gaussian, other: Gaussian) -> float:
    """The Frechet distance of two Gaussians.

    tr (C_1 C_2)^(1/2) is the sum of the singular values of R_1 R_2^T, which no rank can spoil.
    """
    shift = np.sum((one.mean_D - other.mean_D) ** 2)
    spread = np.sum(one.root_RxD**2) + np.sum(other.root_RxD**2)
    overlap = scipy.linalg.svdvals(one.root_RxD @ other.root_RxD.T).sum()
    return max(float(shift + spread - 2 * overlap), 0.0)
