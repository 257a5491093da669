"""A latent space in pictures: interpolation, traversal, a map; and how many latents are in use."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from research.errors import InputError
from research.evaluation.figures import square_picture

Images = Float[np.ndarray, "N H W C"]
Grid = Float[np.ndarray, "R H W C"]  # images of a grid, row by row
Latents = Float[np.ndarray, "N L"]
Encode = Callable[[Any], Any]  # images in [-1, 1] -> latent means (N, L)
Decode = Callable[[Any], Any]  # latents (N, L) -> images in [-1, 1]

ACTIVE = 0.01  # the variance of an active latent's mean (1509.00519, section 5.2)


def interpolation(
    encode: Encode, decode: Decode, first: Images, last: Images, *, steps: int = 10
) -> Grid:
    """Images (N * steps, H, W, C) on the straight lines between the means of N pairs.

    A pair is a row of `steps` images; with `steps` pairs the grid is square.
    """
    ends = np.asarray(encode(np.concatenate([first, last])))
    start_NxL, end_NxL = np.split(ends, 2)
    along = np.linspace(0, 1, steps, dtype=np.float32)[None, :, None]
    return _decoded(decode, start_NxL[:, None] * (1 - along) + end_NxL[:, None] * along)


def traversal(
    decode: Decode,
    z: Float[np.ndarray, " L"],
    latents: Sequence[int],
    *,
    steps: int = 10,
    span: float = 3.0,
) -> Grid:
    """Images (len(latents) * steps, H, W, C): each row moves one latent of z from -span to span.

    `span` is in standard deviations of the prior. Raises InputError for a latent that isn't there.
    """
    if not all(0 <= latent < len(z) for latent in latents):
        raise InputError(f"latents {list(latents)} must lie in 0..{len(z) - 1}")
    z_NxSxL = np.tile(np.asarray(z, np.float32), (len(latents), steps, 1))
    for row, latent in zip(z_NxSxL, latents, strict=True):
        row[:, latent] = np.linspace(-span, span, steps)
    return _decoded(decode, z_NxSxL)


def most_active(means: Latents, count: int) -> list[int]:
    """The latents whose means vary most over the data, in falling order."""
    return np.argsort(-np.var(means, axis=0), kind="stable")[:count].tolist()


def active_units(means: Latents) -> int:
    """How many latents' posterior means have a variance above `ACTIVE` over the data.

    1509.00519, section 5.2.
    """
    return int(np.sum(np.var(means, axis=0) > ACTIVE))


def latent_map(means: Latents) -> Float[np.ndarray, "N 2"]:
    """The means' two principal components; the means themselves where there are two.

    Raises InputError for fewer than two latents or two means.
    """
    if min(means.shape) < 2:
        raise InputError(f"latent means of shape {means.shape} have no map: (2, 2) is the least")
    if means.shape[1] == 2:
        return np.asarray(means)
    from sklearn.decomposition import PCA  # as slow to import as JAX

    return PCA(n_components=2, svd_solver="full").fit_transform(np.asarray(means))


def map_picture(means: Latents, labels: Int[np.ndarray, " N"], *, num_classes: int) -> Grid:
    """`latent_map` as one picture (1, 500, 500, 3) in [-1, 1], a point coloured by its label.

    Raises InputError as `latent_map`, and for a label outside 0..num_classes - 1.
    """
    if len(labels) and not 0 <= min(labels) <= max(labels) < num_classes:
        raise InputError(f"labels {min(labels)}..{max(labels)} must lie in 0..{num_classes - 1}")
    points = latent_map(means)

    def draw(axes: Any) -> None:
        for label in range(num_classes):
            x, y = points[labels == label].T
            axes.scatter(x, y, s=4, alpha=0.6, linewidths=0, label=label)
        axes.legend(markerscale=4, fontsize="small")

    picture = square_picture(draw, side=500)[None]
    return picture.astype(np.float32) / 127.5 - 1


def _decoded(decode: Decode, z_NxSxL: Float[np.ndarray, "N S L"]) -> Grid:
    return np.asarray(decode(z_NxSxL.reshape(-1, z_NxSxL.shape[-1])))
