"""PacGAN's networks for points: a generator with batch norm, a discriminator of maxout layers."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from research.errors import check_least

NORMAL = nn.initializers.normal(0.02)


class BatchNormGenerator(nn.Module):
    """z -> `layers` x (linear, batch norm, ReLU) of `width` -> `dim`, linear (1712.04086, table 2).

    Weights start as N(0, 0.02^2), biases as 0; running statistics keep 95% at each batch.
    """

    dim: int
    width: int = 400
    layers: int = 4

    @nn.compact
    def __call__(
        self, z: Float[Array, "B L"], labels: Any = None, *, train: bool = False
    ) -> Float[Array, "B D"]:
        """Points, by the batch's own statistics in training and by the running ones otherwise.

        Raises InputError: a size is less than 1.
        """
        check_least(1, width=self.width, layers=self.layers)
        h = z
        for layer in range(self.layers):
            h = nn.Dense(self.width, use_bias=False, kernel_init=NORMAL, name=f"hidden{layer}")(h)
            norm = nn.BatchNorm(
                not train, momentum=0.95, epsilon=1e-4, use_fast_variance=False, name=f"norm{layer}"
            )
            h = nn.relu(norm(h))
        return nn.Dense(self.dim, kernel_init=NORMAL, name="out")(h)


class MaxoutDiscriminator(nn.Module):
    """`layers` maxout layers (1302.4389) of `width` units of `pieces` each, then one logit."""

    width: int = 200
    layers: int = 3
    pieces: int = 5

    @nn.compact
    def __call__(self, points: Float[Array, "B D"], labels: Any = None) -> Float[Array, " B"]:
        """Logits of points, or of packs of points. Raises InputError: a size is less than 1."""
        check_least(1, width=self.width, layers=self.layers, pieces=self.pieces)
        h = points
        for layer in range(self.layers):
            linear = nn.Dense(self.pieces * self.width, kernel_init=NORMAL, name=f"maxout{layer}")
            h = largest(linear(h), self.pieces)
        return nn.Dense(1, kernel_init=NORMAL, name="out")(h)[:, 0]


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def largest(h: Float[Array, "B KU"], pieces: int) -> Float[Array, "B U"]:
    """The largest of `pieces` slices of the last axis, element by element."""
    return functools.reduce(jnp.maximum, jnp.split(h, pieces, axis=-1))


def _largest_forward(h: Array, pieces: int) -> tuple[Array, tuple[Array, Array]]:
    found = largest(h, pieces)
    return found, (h, found)


def _largest_backward(pieces: int, kept: tuple[Array, Array], gradient: Array) -> tuple[Array]:
    # JAX's own gradient shares ties out, which takes a quarter of PacGAN's whole step.
    h, found = kept
    return (jnp.where(h == jnp.tile(found, pieces), jnp.tile(gradient, pieces), 0),)


largest.defvjp(_largest_forward, _largest_backward)
