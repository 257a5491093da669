"""The painter: it looks at a canvas and its target, and says where a stroke would do most good."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from research.errors import InputError, check_least
from research.networks.actor_critic import dense, perceptron

SEEN_AROUND = 5  # a stroke of the widest brush covers about as many pixels across


class Strokes(NamedTuple):
    """A heat map of places, as logits, and the brush's mean and log deviations at each of them."""

    logits: Float[Array, "*B H W"]
    means: Float[Array, "*B H W K"]
    log_stds: Float[Array, "*B H W K"]


class Painter(nn.Module):
    """For a canvas: how promising each place is, and which pressure and colour it asks for.

    Every place is looked at alike: its neighbourhood in what the canvas still lacks and in the
    target goes through a hidden layer, that and its own pixel through another, of `width` units
    each. The value is of the mean over the places and of the mean under the heat map. Deviations
    stay within a factor of e of exp(`log_std`): where no stroke is made, nothing else bounds them.
    """

    actions: int
    width: int = 16
    log_std: float = -1.5

    @nn.compact
    def __call__(self, observations: Float[Array, "B *D"]) -> tuple[Strokes, Float[Array, " B"]]:
        """The policy's outputs, of K = `actions` - 2 numbers a brush, and the values.

        Raises InputError: the width is less than 1, or the observations are no canvas and target,
        (B, H, W, D).
        """
        check_least(1, width=self.width)
        colours, brush = self.actions - 3, self.actions - 2
        if observations.ndim != 4 or observations.shape[-1] != 2 * colours + 1:
            raise InputError(
                f"network painter looks at a canvas, its target and a clock, (H, W, colours + "
                f"colours + 1); this environment's observations are {observations.shape[1:]}"
            )
        batch, height, width, _ = observations.shape
        canvas, target, clock = jnp.split(observations, (colours, 2 * colours), axis=-1)
        lacking = target - canvas
        around = neighbourhoods(jnp.concatenate([lacking, target], axis=-1), SEEN_AROUND)
        pixel = jnp.concatenate([lacking, target, clock], axis=-1)
        # Layers of a matrix: in a loop on a CPU, XLA's convolutions are 20 times as slow.
        around_MxD, pixel_MxD = (x.reshape(-1, x.shape[-1]) for x in (around, pixel))
        h_MxD = nn.relu(dense(self.width, 2**0.5, "around")(around_MxD))
        h_MxD = jnp.concatenate([h_MxD, pixel_MxD], axis=-1)
        h_MxD = nn.relu(dense(self.width, 2**0.5, "here")(h_MxD))
        seen_MxD = jnp.concatenate([h_MxD, pixel_MxD], axis=-1)
        strokes = Strokes(
            dense(1, 1.0, "heat")(h_MxD).reshape(batch, height, width),
            dense(brush, 0.01, "mean")(seen_MxD).reshape(batch, height, width, brush),
            self.log_std
            + nn.tanh(dense(brush, 0.01, "log_std")(seen_MxD)).reshape(batch, height, width, brush),
        )
        seen_BxNxD = seen_MxD.reshape(batch, height * width, -1)
        heat_BxN = jax.nn.softmax(strokes.logits.reshape(batch, -1))
        attended = jnp.einsum("bn,bnd->bd", heat_BxN, seen_BxNxD)
        pooled = jnp.concatenate([jnp.mean(seen_BxNxD, axis=1), attended], axis=-1)
        value = perceptron(pooled, (2 * self.width,), "value")
        return strokes, dense(1, 1.0, "value_out")(value)[:, 0]


def neighbourhoods(x: Float[Array, "B H W D"], size: int) -> Float[Array, "B H W N"]:
    """The `size` x `size` pixels around each, row by row, N = size^2 D numbers; 0 outside."""
    height, width = x.shape[1:3]
    margin = size // 2
    padded = jnp.pad(x, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    shifted = [padded[:, i : i + height, j : j + width] for i in range(size) for j in range(size)]
    return jnp.concatenate(shifted, axis=-1)
