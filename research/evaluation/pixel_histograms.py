"""The trivial model of discrete images: each pixel by its own histogram."""

import functools
from collections.abc import Iterable

import numpy as np
from jaxtyping import Int, Integer

Images = Integer[np.ndarray, "_ H W C"]


def histogram_bits(seen: Iterable[Images], met: Iterable[Images], *, levels: int) -> float:
    """Bits a dimension of the images `met` by histograms of those `seen`, each level once more."""
    counts_LxP = 1 + functools.reduce(np.add, (level_counts(images, levels) for images in seen))
    bits_LxP = -np.log2(counts_LxP / counts_LxP.sum(axis=0))
    parts = [np.take_along_axis(bits_LxP, pixels(images), axis=0) for images in met]
    return float(np.concatenate(parts).mean())


def level_counts(images: Images, levels: int) -> Int[np.ndarray, "L P"]:
    """How many of the images have each level at each pixel."""
    places = pixels(images)
    size = places.shape[1]
    counts = np.bincount((places * size + np.arange(size)).ravel(), minlength=levels * size)
    return counts.reshape(levels, size)


def pixels(images: Images) -> Int[np.ndarray, "B P"]:
    return images.reshape(len(images), -1).astype(np.int64)
