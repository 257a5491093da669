"""EfficientNet-Lite0: features of colour images, with the weights of a published package."""

import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float

from research.networks.pth import read_pth

SIDE = 224
EPSILON = 1e-3  # of the batch norms


class Stage(NamedTuple):
    """Blocks of one kind; the first of them has the stride and changes the channels."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


class EfficientNetLite0(nn.Module):
    """EfficientNet-B0 (1905.11946, table 1) without squeeze-and-excitation, with ReLU6.

    Batch norm is folded into the convolution before it, so every convolution has a bias.
    """

    @nn.compact
    def __call__(
        self, images: Float[Array, "B H W 3"]
    ) -> tuple[Float[Array, "B 1000"], Float[Array, "B 1280"]]:
        """ImageNet logits and the pooled features under them, of RGB images in [-1, 1].

        An image of any size is resized to 224 x 224 by antialiased bilinear interpolation and
        scaled to (v - 127) / 128, v being 0..255, as the weights were trained.
        """
        images = jax.image.resize(images, (len(images), SIDE, SIDE, 3), "bilinear")
        h = ((images + 1) * 127.5 - 127) / 128
        h = nn.relu6(nn.Conv(32, (3, 3), strides=2, name="stem")(h))
        for index, stage, stride in blocks():
            h = Block(stage, stride, name=f"block{index}")(h)
        h = nn.relu6(nn.Conv(1280, (1, 1), name="head")(h))
        features = h.mean(axis=(1, 2))
        return nn.Dense(1000, name="logits")(features), features


def blocks() -> Iterator[tuple[int, Stage, int]]:
    """(index, stage, stride) of each block."""
    strided = [
        (stage, stage.stride if repeat == 0 else 1)
        for stage in STAGES
        for repeat in range(stage.repeats)
    ]
    return ((index, stage, stride) for index, (stage, stride) in enumerate(strided))


class Block(nn.Module):
    """The inverted residual (1801.04381, section 3): expand, convolve by channel, project."""

    stage: Stage
    stride: int

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w c"]:
        """The output is added to the input where their shapes agree."""
        h, width = x, x.shape[-1] * self.stage.expansion
        if self.stage.expansion > 1:
            h = nn.relu6(nn.Conv(width, (1, 1), name="expand")(h))
        h = nn.relu6(Depthwise(self.stage.kernel, self.stride, name="depthwise")(h))
        h = nn.Conv(self.stage.channels, (1, 1), name="project")(h)
        return x + h if x.shape == h.shape else h


class Depthwise(nn.Module):
    """A convolution of each channel with its own kernel, padded to SAME."""

    side: int
    stride: int

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w C"]:
        """Equal to `nn.Conv(C, (side, side), strides=stride, feature_group_count=C)`."""
        side, stride = self.side, self.stride
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (side, side, 1, x.shape[-1]))
        bias = self.param("bias", nn.initializers.zeros, x.shape[-1:])
        pads = jax.lax.padtype_to_pads(x.shape[1:3], (side, side), (stride, stride), "SAME")
        x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
        rows, columns = (x.shape[1] - side + 1, x.shape[2] - side + 1)
        # XLA's grouped convolution on a CPU is 10 to 20 times slower than the sum over its taps.
        taps = [
            x[:, i : i + rows : stride, j : j + columns : stride] * kernel[i, j, 0]
            for i in range(side)
            for j in range(side)
        ]
        return sum(taps[1:], start=taps[0]) + bias


def load_params(path: pathlib.Path) -> dict[str, Any]:
    """The parameters in `efficientnet-lite0-57934424.pth`.

    Raises:
      InputError: the file can't be read.
    """
    tensors = read_pth(path)
    params: dict[str, Any] = {
        "stem": fold(tensors, "_conv_stem", "_bn0"),
        "head": fold(tensors, "_conv_head", "_bn1"),
        "logits": {"kernel": tensors["_fc.weight"].T, "bias": tensors["_fc.bias"]},
    }
    for index, stage, _ in blocks():
        here = f"_blocks.{index}."
        block = {
            "depthwise": fold(tensors, here + "_depthwise_conv", here + "_bn1"),
            "project": fold(tensors, here + "_project_conv", here + "_bn2"),
        }
        if stage.expansion > 1:
            block["expand"] = fold(tensors, here + "_expand_conv", here + "_bn0")
        params[f"block{index}"] = block
    return jax.tree.map(jnp.asarray, params)


def fold(tensors: Mapping[str, np.ndarray], conv: str, norm: str) -> dict[str, np.ndarray]:
    """Kernel (H, W, in, out) and bias of a convolution and the batch norm after it, as one."""
    scale = tensors[f"{norm}.weight"] / np.sqrt(tensors[f"{norm}.running_var"] + EPSILON)
    return {
        "kernel": tensors[f"{conv}.weight"].transpose(2, 3, 1, 0) * scale,
        "bias": tensors[f"{norm}.bias"] - tensors[f"{norm}.running_mean"] * scale,
    }
