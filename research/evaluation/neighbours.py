"""Nearest training neighbours of samples: is a picture new, or remembered?"""

import numpy as np
from jaxtyping import Float, Int

from research.errors import InputError
from research.evaluation.precision_recall import distances

Images = Float[np.ndarray, "N H W C"]
Features = Float[np.ndarray, "N D"]


def nearest(
    features_NxD: Features, reference_MxD: Float[np.ndarray, "M D"], *, k: int = 1
) -> tuple[Int[np.ndarray, "N k"], Float[np.ndarray, "N k"]]:
    """Indices and distances of each row's k nearest reference rows, the nearest first.

    Raises InputError unless 1 <= k <= M.
    """
    if not 1 <= k <= len(reference_MxD):
        raise InputError(f"k={k} neighbours of {len(reference_MxD)} rows; 1 to that many there are")
    indices, found = [], []
    for distances_BxM in distances(features_NxD, reference_MxD):
        order = np.argsort(distances_BxM, axis=1, kind="stable")[:, :k]
        indices.append(order)
        found.append(np.take_along_axis(distances_BxM, order, axis=1))
    return np.concatenate(indices), np.concatenate(found)


def neighbour_images(
    samples: Images,
    training: Float[np.ndarray, "M H W C"],
    *,
    k: int = 4,
) -> Float[np.ndarray, "R H W C"]:
    """Each sample followed by its k nearest training images: R = N (1 + k) of them.

    A grid of 1 + k columns shows a sample a row. Nearness is Euclidean in pixels. Raises InputError
    as `nearest` does.
    """
    pixels, of_training = (images.reshape(len(images), -1) for images in (samples, training))
    indices, _ = nearest(pixels, of_training, k=k)
    rows = np.concatenate([samples[:, None], training[indices]], axis=1)
    return rows.reshape(-1, *samples.shape[1:])
