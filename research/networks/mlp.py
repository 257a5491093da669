"""Multilayer perceptrons: a plain one, and an encoder and decoder of images."""

import math
from collections.abc import Callable, Sequence

import jax
from flax import linen as nn
from jaxtyping import Array, Float

from research.errors import check_choice, check_least

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": nn.gelu,
    "relu": nn.relu,
    "silu": nn.silu,
    "softplus": nn.softplus,
    "tanh": nn.tanh,
}


class MLP(nn.Module):
    """Dense layers of widths `hidden`, an activation after each, and with `out` a last linear one.

    `activation` is a name of `ACTIVATIONS`; weights start as Glorot's (uniform), biases as 0.
    """

    hidden: Sequence[int]
    out: int | None = None
    activation: str = "gelu"

    @nn.compact
    def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B E"]:
        """Raises InputError for an activation that isn't there, or a width less than 1."""
        check_least(1, hidden=min(self.hidden, default=1))
        activate = activation_named(self.activation)
        for layer, width in enumerate(self.hidden):
            x = activate(dense(width, name=f"hidden{layer}")(x))
        return x if self.out is None else dense(self.out, name="out")(x)


class MLPEncoder(nn.Module):
    """Images to the mean and log std of `latent` latents, by an MLP with two linear heads.

    Without `hidden` layers it is the encoder of a linear VAE; 1509.00519's are (200, 200), tanh.
    Hidden layers see the ink (1 + x) / 2: a background of -1 in every pixel would saturate them.
    """

    latent: int
    hidden: Sequence[int] = (200, 200)
    activation: str = "tanh"

    @nn.compact
    def __call__(
        self, images: Float[Array, "B H W C"]
    ) -> tuple[Float[Array, "B L"], Float[Array, "B L"]]:
        """The mean and log std of images in [-1, 1]."""
        flat = images.reshape(len(images), -1)
        seen = (1 + flat) / 2 if self.hidden else flat
        h = MLP(self.hidden, activation=self.activation, name="mlp")(seen)
        return dense(self.latent, name="mean")(h), dense(self.latent, name="log_std")(h)


class MLPDecoder(nn.Module):
    """Latents to one number a pixel, by an MLP."""

    image_shape: Sequence[int]
    hidden: Sequence[int] = (200, 200)
    activation: str = "tanh"

    @nn.compact
    def __call__(self, z: Float[Array, "B L"]) -> Float[Array, "B H W C"]:
        """Outputs of a likelihood: logits or means."""
        pixels = math.prod(self.image_shape)
        h = MLP(self.hidden, pixels, self.activation, name="mlp")(z)
        return h.reshape(len(z), *self.image_shape)


def activation_named(name: str) -> Callable[[jax.Array], jax.Array]:
    """One of `ACTIVATIONS`. Raises InputError for another name."""
    check_choice("activation", name, ACTIVATIONS)
    return ACTIVATIONS[name]


def dense(width: int, *, name: str) -> nn.Dense:
    return nn.Dense(width, kernel_init=nn.initializers.glorot_uniform(), name=name)
