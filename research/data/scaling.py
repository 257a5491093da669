"""Pixels between integers 0..levels - 1, as data sets have them, and [-1, 1], as networks do."""

from typing import Any

import numpy as np
from jaxtyping import Array, Float, UInt8

Images = Float[np.ndarray, "N H W C"] | Float[Array, "N H W C"]


def scaled(images: Any, levels: int) -> Any:
    """Integers 0..levels - 1 as float32 in [-1, 1], of NumPy or JAX as they are given."""
    return images.astype(np.float32) * (2 / (levels - 1)) - 1


def to_levels(images: Images, levels: int) -> UInt8[np.ndarray, "N H W C"]:
    """The nearest of the integers 0..levels - 1 for images in [-1, 1], clipped to that range."""
    near = np.rint((np.asarray(images) + 1) * ((levels - 1) / 2))
    return np.clip(near, 0, levels - 1).astype(np.uint8)
