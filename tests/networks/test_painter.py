"""The painter: every place is looked at alike, and as a convolution would."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.errors import InputError
from research.networks.painter import Painter, neighbourhoods

RNG = jax.random.key(0, impl="rbg")
SEEN = jax.random.uniform(RNG, (2, 9, 9, 3), minval=-1.0)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_a_layer_over_neighbourhoods_is_a_convolution(size):
    kernel = jax.random.normal(RNG, (size, size, 3, 4))
    expected = jax.lax.conv_general_dilated(
        SEEN, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    found = neighbourhoods(SEEN, size) @ kernel.reshape(-1, 4)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_what_is_moved_is_painted_where_it_was_moved_to():
    painter = Painter(actions=4, width=8)
    clock = jnp.full((1, 9, 9, 1), 0.3)
    inside = jnp.pad(SEEN[:1, 3:6, 3:6, :2], ((0, 0), (3, 3), (3, 3), (0, 0)))
    here, below = (
        jnp.concatenate([image, clock], axis=-1) for image in (inside, jnp.roll(inside, 1, axis=1))
    )
    (strokes, value), variables = painter.init_with_output(RNG, here)
    moved, same_value = painter.apply(variables, below)
    for before, after in zip(strokes, moved, strict=True):
        assert bool((before[:, 2:7] != before[:, 3:8]).any())
        np.testing.assert_allclose(after, jnp.roll(before, 1, axis=1), atol=1e-6)
    np.testing.assert_allclose(same_value, value, rtol=1e-5)


def test_deviations_stay_within_a_factor_of_e():
    painter = Painter(actions=6, width=4, log_std=-1.0)
    seen = jnp.ones((1, 5, 5, 7))
    params = painter.init(RNG, seen)["params"]
    for weight, expected in ((-1e3, -2.0), (1e3, 0.0)):
        extreme = jax.tree.map(lambda leaf, to=weight: jnp.full_like(leaf, to), params["log_std"])
        strokes, _ = painter.apply({"params": params | {"log_std": extreme}}, seen)
        assert strokes.log_stds.shape == (1, 5, 5, 4)
        np.testing.assert_allclose(strokes.log_stds, expected)


@pytest.mark.parametrize(
    ("actions", "shape"),
    [(2, (4,)), (4, (8, 8, 1)), (6, (8, 8, 3))],
    ids=["vector", "image", "grey"],
)
def test_observations_that_are_no_canvas(actions, shape):
    """CartPole's, an image without a target, and a grey canvas for a painter of three colours."""
    with pytest.raises(InputError, match=re.escape(f"observations are {shape}")):
        Painter(actions=actions).init(RNG, jnp.zeros((1, *shape)))
