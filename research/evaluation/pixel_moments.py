"""The first two moments of each pixel, which trivial models of images are made of."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import Float

Pixels = Float[np.ndarray, "H W C"]


def moments(images: Iterable[Any]) -> tuple[Pixels, Pixels]:
    """E[x] and E[x^2] of batches of images (B, H, W, C) in [-1, 1], in float64.

    One image more, of mean 0 and square 1, lets no pixel seem certain.
    """
    total: Any = 0.0
    squares: Any = 1.0
    count = 1
    for batch in images:
        pixels = np.asarray(batch, np.float64)
        total = total + pixels.sum(axis=0)
        squares = squares + np.square(pixels).sum(axis=0)
        count += len(pixels)
    return total / count, squares / count
