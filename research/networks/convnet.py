"""A small convolutional classifier: logits, and the penultimate features that distances use."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from research.errors import check_least
from research.networks.sides import smallest_sides


class ConvNet(nn.Module):
    """Three 3x3 convolutions, the side halved after each of the first two, and a dense layer.

    `width`, `2 * width` and `4 * width` channels; `features` units before the logits. The sides of
    the images are multiples of 4.
    """

    num_classes: int
    width: int = 16
    features: int = 64

    @nn.compact
    def __call__(
        self, images: Float[Array, "B H W C"]
    ) -> tuple[Float[Array, "B K"], Float[Array, "B D"]]:
        """Logits of the classes and the features under them, of images in [-1, 1].

        Raises InputError: a size is less than 1, or as `smallest_sides` does.
        """
        check_least(1, width=self.width, features=self.features)
        smallest_sides(images.shape[1:3], 2)
        h = images
        for level, factor in enumerate((1, 2, 4)):
            h = nn.gelu(nn.Conv(factor * self.width, (3, 3), name=f"conv{level}")(h))
            if level < 2:
                h = halved(h)
        features = nn.gelu(nn.Dense(self.features, name="features")(h.reshape(len(h), -1)))
        return nn.Dense(self.num_classes, name="logits")(features), features.astype(jnp.float32)


def halved(h: Float[Array, "B H W C"]) -> Float[Array, "B h w C"]:
    """The maximum of each 2x2 patch; the sides are even."""
    # XLA's gradient of a window maximum is slow on a CPU; that of a reshape is not.
    batch, height, width, channels = h.shape
    return h.reshape(batch, height // 2, 2, width // 2, 2, channels).max(axis=(2, 4))
