"""Shape letters and array aliases.

Dense maths names its axes in a suffix, `images_BxHxWxC`:
B batch, H height, W width, C channels, T time or tokens, D width of a layer, K classes, N samples.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Array, Float, Int, Key

Params = Any  # a pytree of float32 arrays
Batch = Mapping[str, Any]  # name -> array with the examples along its first axis
Places = Int[np.ndarray, " B"]  # numbers of examples in their data set
Rng = Key[Array, ""]
Scalar = Float[Array, ""]
Metrics = dict[str, Any]  # name -> array: a scalar, or one number an example
