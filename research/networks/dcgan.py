"""Convolutional generator and discriminator of images (DCGAN, 1511.06434), quick on a CPU."""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from research.errors import check_least
from research.networks.sides import smallest_sides
from research.networks.unet import depth_to_space, space_to_depth

FEWER = "entries of network.generator.channels and network.discriminator.channels"
NORMAL = nn.initializers.normal(0.02)


class DCGANGenerator(nn.Module):
    """A dense layer to the smallest side, then the side doubled once for each entry of `channels`.

    Batch norm and ReLU before each doubling, tanh at the end. A doubling is a 3x3 convolution to
    four times the channels and `depth_to_space`: a transposed convolution of a 6x6 kernel and
    stride 2 (1609.05158), without the zeros XLA would multiply by. A class is embedded and
    joined to the latents.
    """

    image_shape: Sequence[int]
    channels: Sequence[int] = (64, 32)
    num_classes: int = 0

    @nn.compact
    def __call__(
        self,
        z: Float[Array, "B L"],
        labels: Int[Array, " B"] | None = None,
        *,
        train: bool = False,
    ) -> Float[Array, "B H W C"]:
        """Images in [-1, 1].

        Raises InputError: an entry of `channels` is less than 1, or sides can't be halved so often.
        """
        check_least(1, channels=min(self.channels, default=0))
        height, width, out = self.image_shape
        rows, columns = smallest_sides((height, width), len(self.channels), fewer=FEWER)
        if labels is not None:
            embedded = nn.Embed(self.num_classes, z.shape[-1], name="classes")(labels)
            z = jnp.concatenate([z, embedded], axis=-1)
        h = nn.Dense(rows * columns * self.channels[0], use_bias=False, kernel_init=NORMAL)(z)
        h = h.reshape(-1, rows, columns, self.channels[0])
        for level, after in enumerate((*self.channels[1:], out)):
            h = nn.relu(nn.BatchNorm(not train, momentum=0.95, name=f"norm{level}")(h))
            h = nn.Conv(4 * after, (3, 3), kernel_init=NORMAL, name=f"double{level}")(h)
            h = depth_to_space(h, 2)
        return jnp.tanh(h)


class DCGANDiscriminator(nn.Module):
    """The side halved once for each entry of `channels`, then one logit.

    A halving is `space_to_depth` and a 3x3 convolution, the same as a 6x6 one of stride 2; leaky
    ReLU after each. There is no batch norm: logits and gradient penalties are each example's own.
    With classes the embedding of the label is projected on the features (1802.05637).
    """

    channels: Sequence[int] = (32, 64)
    num_classes: int = 0

    @nn.compact
    def __call__(
        self, images: Float[Array, "B H W C"], labels: Int[Array, " B"] | None = None
    ) -> Float[Array, " B"]:
        """Logits. Raises InputError as the generator does."""
        check_least(1, channels=min(self.channels, default=0))
        smallest_sides(images.shape[1:3], len(self.channels), fewer=FEWER)
        h = images
        for level, width in enumerate(self.channels):
            h = nn.Conv(width, (3, 3), kernel_init=NORMAL, name=f"halve{level}")(
                space_to_depth(h, 2)
            )
            h = nn.leaky_relu(h, 0.2)
        features = h.reshape(len(h), -1)
        logits = nn.Dense(1, kernel_init=NORMAL, name="out")(features)[:, 0]
        if labels is None:
            return logits
        embedded = nn.Embed(
            self.num_classes, features.shape[-1], embedding_init=NORMAL, name="classes"
        )
        return logits + jnp.sum(embedded(labels) * features, axis=-1)
