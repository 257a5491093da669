"""A convolutional encoder and decoder of images: a pyramid down to a vector, and back."""

import math
from collections.abc import Sequence

from flax import linen as nn
from jaxtyping import Array, Float

from research.errors import check_least
from research.networks.sides import smallest_sides
from research.networks.unet import depth_to_space, space_to_depth

FEWER = "network.encoder.levels and network.decoder.levels"


class ConvEncoder(nn.Module):
    """Images to the mean and log std of `latent` latents.

    Level i folds 2x2 pixels into channels and convolves 3x3 to `width * 2**i` channels; two linear
    heads read the last one.
    """

    latent: int
    width: int = 32
    levels: int = 2

    @nn.compact
    def __call__(
        self, images: Float[Array, "B H W C"]
    ) -> tuple[Float[Array, "B L"], Float[Array, "B L"]]:
        """The mean and log std of images in [-1, 1].

        Raises InputError: a size is less than 1, or as `smallest_sides` does.
        """
        check_least(1, width=self.width, levels=self.levels)
        smallest_sides(images.shape[1:3], self.levels, fewer=FEWER)
        h = images
        for level in range(self.levels):
            conv = nn.Conv(self.width * 2**level, (3, 3), name=f"conv{level}")
            # A strided convolution's gradient is slow on a CPU; that of folding is not.
            h = nn.gelu(conv(space_to_depth(h, 2)))
        h = h.reshape(len(h), -1)
        return nn.Dense(self.latent, name="mean")(h), nn.Dense(self.latent, name="log_std")(h)


class ConvDecoder(nn.Module):
    """Latents to one number a pixel: `ConvEncoder` turned round, unfolding channels into pixels."""

    image_shape: Sequence[int]
    width: int = 32
    levels: int = 2

    @nn.compact
    def __call__(self, z: Float[Array, "B L"]) -> Float[Array, "B H W C"]:
        """Outputs of a likelihood. Raises InputError as the encoder does."""
        check_least(1, width=self.width, levels=self.levels)
        height, width = smallest_sides(self.image_shape[:2], self.levels, fewer=FEWER)
        channels = [self.image_shape[-1], *(self.width * 2**i for i in range(self.levels))]
        shape = (height, width, channels[-1])
        h = nn.gelu(nn.Dense(math.prod(shape), name="dense")(z)).reshape(len(z), *shape)
        for level in reversed(range(self.levels)):
            h = nn.Conv(4 * channels[level], (3, 3), name=f"conv{level}")(h)
            h = depth_to_space(nn.gelu(h) if level else h, 2)
        return h
