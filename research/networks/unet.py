"""The UNet of denoising diffusion: residual blocks, attention by resolution, time and class."""

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from kernels.attention import attention
from kernels.convolution import conv3x3
from research.errors import InputError, check_least
from research.networks.group_norm import GroupNorm

# DDPM's initializer.
UNIFORM = nn.initializers.variance_scaling(1.0, "fan_avg", "uniform")
ZEROS = nn.initializers.zeros


class UNet(nn.Module):
    """Maps a noisy image and its time to an image of `out_factor` times its channels.

    The DDPM architecture (2006.11239, appendix B) with improved DDPM's scale-shift norm
    (2102.09672, section 3). Level i has `channels * multipliers[i]` channels and half the side
    of level i - 1; self-attention runs at the levels whose height is in `attention_resolutions`.
    `patch_size` p folds p x p pixels into channels first, so all sides below are divided by p.
    With `num_classes` the label `num_classes` is the null one of classifier-free guidance.
    Parameters are float32, `dtype` is what is computed in, and the output is float32.
    """

    channels: int = 32
    multipliers: Sequence[int] = (1, 2, 2)
    blocks: int = 2
    attention_resolutions: Sequence[int] = ()
    head_channels: int = 32
    dropout: float = 0.0
    num_classes: int = 0
    patch_size: int = 1
    out_factor: int = 1
    scale_shift: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B H W C"],
        t: Float[Array, " B"],
        labels: Int[Array, " B"] | None = None,
        *,
        train: bool = False,
    ) -> Float[Array, "B H W out"]:
        """Outputs (B, H, W, out_factor * C); `labels=None` means the null label.

        Training draws dropout from the rng stream `dropout`. Raises InputError when a size is
        less than 1, a side can't be divided by the patch or halved at every level, or attention is
        asked for at a height that no level has.
        """
        check_least(2, channels=self.channels)  # a sine and a cosine of the time
        check_least(
            1,
            blocks=self.blocks,
            head_channels=self.head_channels,
            patch_size=self.patch_size,
            out_factor=self.out_factor,
            multipliers=min(self.multipliers, default=0),
        )
        out_channels = self.out_factor * x.shape[-1]
        check_sides(x.shape[1:3], self.patch_size, len(self.multipliers))
        check_attention(self.attention_resolutions, x.shape[1] // self.patch_size, self.multipliers)
        embedding = self.embed(t, labels)
        h = space_to_depth(x.astype(self.dtype), self.patch_size)
        h = conv(self.channels, self.dtype, name="stem")(h)

        skips = [h]
        for level, multiplier in enumerate(self.multipliers):
            if level > 0:
                h = conv(h.shape[-1], self.dtype, stride=2, name=f"down{level}_halve")(h)
                skips.append(h)
            for block in range(self.blocks):
                h = self.block(h, embedding, multiplier, train, f"down{level}_{block}")
                skips.append(h)

        h = self.residual(h, embedding, h.shape[-1], train, "middle_0")
        h = SelfAttention(self.head_channels, self.dtype, name="middle_attention")(h)
        h = self.residual(h, embedding, h.shape[-1], train, "middle_1")

        for level, multiplier in reversed(list(enumerate(self.multipliers))):
            for block in range(self.blocks + 1):
                h = jnp.concatenate([h, skips.pop()], axis=-1)
                h = self.block(h, embedding, multiplier, train, f"up{level}_{block}")
            if level > 0:
                h = h.repeat(2, axis=1).repeat(2, axis=2)
                h = conv(h.shape[-1], self.dtype, name=f"up{level}_double")(h)

        h = group_norm(self.dtype, h.shape[-1], name="head_norm")(h, silu=True)
        h = conv(out_channels * self.patch_size**2, self.dtype, zero=True, name="head")(h)
        return depth_to_space(h, self.patch_size).astype(jnp.float32)

    def embed(self, t: Array, labels: Array | None) -> Array:
        """The (B, 4 channels) embedding of time and class that every residual block reads."""
        width = 4 * self.channels
        e = sinusoidal(t, self.channels).astype(self.dtype)
        e = nn.silu(dense(width, self.dtype, name="time_0")(e))
        e = dense(width, self.dtype, name="time_1")(e)
        if self.num_classes:
            if labels is None:
                labels = jnp.full(t.shape, self.num_classes, jnp.int32)
            table = nn.Embed(self.num_classes + 1, width, dtype=self.dtype, name="classes")
            e = e + table(labels)
        return nn.silu(e)

    def block(self, h: Array, embedding: Array, multiplier: int, train: bool, name: str) -> Array:
        """A residual block at `multiplier` times the channels, and attention if h's height asks."""
        h = self.residual(h, embedding, self.channels * multiplier, train, name)
        if h.shape[1] in self.attention_resolutions:
            h = SelfAttention(self.head_channels, self.dtype, name=f"{name}_attention")(h)
        return h

    def residual(self, h: Array, embedding: Array, out: int, train: bool, name: str) -> Array:
        block = ResidualBlock(out, self.dropout, self.scale_shift, self.dtype, name=name)
        return block(h, embedding, train=train)


class ResidualBlock(nn.Module):
    """norm, silu, conv, embedding, norm, silu, dropout, conv, plus the input."""

    channels: int
    dropout: float
    scale_shift: bool
    dtype: Any

    @nn.compact
    def __call__(self, x: Array, embedding: Array, *, train: bool) -> Array:
        h = group_norm(self.dtype, x.shape[-1], name="norm_0")(x, silu=True)
        h = conv(self.channels, self.dtype, name="conv_0")(h)
        width = self.channels * (2 if self.scale_shift else 1)
        e = dense(width, self.dtype, name="embedding")(embedding)
        norm = group_norm(self.dtype, self.channels, name="norm_1")
        if self.scale_shift:
            scale, shift = jnp.split(e, 2, axis=-1)
            h = norm(h, modulation=(scale, shift), silu=True)
        else:
            h = norm(h + e[:, None, None, :], silu=True)
        h = nn.Dropout(self.dropout, deterministic=not train)(h)
        h = conv(self.channels, self.dtype, zero=True, name="conv_1")(h)
        if x.shape[-1] != self.channels:
            x = dense(self.channels, self.dtype, name="skip")(x)
        return x + h


class SelfAttention(nn.Module):
    """Self-attention over all pixels, plus the input.

    Of fewer than two heads' channels all are one head's. Raises InputError where heads of
    `head_channels` don't divide them.
    """

    head_channels: int
    dtype: Any

    @nn.compact
    def __call__(self, x_BxHxWxC: Array) -> Array:
        batch, height, width, channels = x_BxHxWxC.shape
        heads = max(1, channels // self.head_channels)
        if heads > 1 and channels != heads * self.head_channels:
            raise InputError(
                f"UNet: {channels} channels can't be shared by {heads} heads of "
                f"{self.head_channels} (head_channels)"
            )
        h = group_norm(self.dtype, channels, name="norm")(x_BxHxWxC)
        qkv = dense(3 * channels, self.dtype, name="qkv")(h)
        q, k, v = jnp.split(qkv.reshape(batch, height * width, heads, -1), 3, axis=-1)
        h = attention(q, k, v).reshape(x_BxHxWxC.shape)
        return x_BxHxWxC + dense(channels, self.dtype, zero=True, name="out")(h)


class Conv3x3(nn.Module):
    """A 3x3 convolution with a bias, its parameters those of `flax.linen.Conv`."""

    channels: int
    stride: int
    kernel_init: Any
    dtype: Any

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (3, 3, x.shape[-1], self.channels)
        kernel = self.param("kernel", self.kernel_init, shape)
        bias = self.param("bias", ZEROS, (self.channels,))
        x, kernel, bias = (array.astype(self.dtype) for array in (x, kernel, bias))
        return conv3x3(x, kernel, stride=self.stride) + bias


def conv(channels: int, dtype: Any, *, name: str, stride: int = 1, zero: bool = False) -> Conv3x3:
    """A 3x3 convolution; `zero` makes it output 0 before training, as DDPM's last ones do."""
    return Conv3x3(channels, stride, ZEROS if zero else UNIFORM, dtype, name=name)


def dense(width: int, dtype: Any, *, name: str, zero: bool = False) -> nn.Dense:
    """A matrix product along the channels; `zero` as for `conv`."""
    return nn.Dense(width, dtype=dtype, kernel_init=ZEROS if zero else UNIFORM, name=name)


def group_norm(dtype: Any, channels: int, *, name: str) -> GroupNorm:
    """Group norm with the largest divisor of `channels` up to 32 groups of at least 4 channels."""
    groups = max(g for g in range(1, 33) if channels % g == 0 and (channels // g >= 4 or g == 1))
    return GroupNorm(groups, dtype, name=name)


def sinusoidal(t: Float[Array, " B"], width: int) -> Float[Array, "B {width}"]:
    """Sines and cosines of t at h = `width` // 2 periods from 2 pi to 10^(4 (h - 1) / h) * 2 pi
    (1706.03762, 3.5)."""
    frequencies = jnp.exp(-math.log(1e4) * jnp.arange(width // 2) / (width // 2))
    phases = t.astype(jnp.float32)[:, None] * frequencies
    return jnp.concatenate([jnp.cos(phases), jnp.sin(phases)], axis=-1)


def space_to_depth(x: Float[Array, "B H W C"], p: int) -> Float[Array, "B h w c"]:
    """Folds p x p pixels into channels: (B, H, W, C) -> (B, H/p, W/p, p p C)."""
    b, h, w, c = x.shape
    x = x.reshape(b, h // p, p, w // p, p, c).swapaxes(2, 3)
    return x.reshape(b, h // p, w // p, p * p * c)


def depth_to_space(x: Float[Array, "B h w c"], p: int) -> Float[Array, "B H W C"]:
    """The inverse of `space_to_depth`."""
    b, h, w, c = x.shape
    x = x.reshape(b, h, w, p, p, c // p**2).swapaxes(2, 3)
    return x.reshape(b, h * p, w * p, c // p**2)


def check_sides(sides: Sequence[int], patch_size: int, levels: int) -> None:
    """Raises InputError unless every side can be cut into patches and halved levels - 1 times."""
    for side in sides:
        factor = patch_size * 2 ** (levels - 1)
        if side % factor:
            raise InputError(
                f"UNet: an image side of {side} isn't divisible by {factor} "
                f"(patch_size {patch_size}, halved {levels - 1} times)"
            )


def check_attention(asked: Sequence[int], height: int, levels: Sequence[int]) -> None:
    """Raises InputError unless each height `asked` for is a level's; `height` is the first's."""
    heights = [height // 2**level for level in range(len(levels))]
    for one in asked:
        if one not in heights:
            known = ", ".join(map(str, heights))
            raise InputError(f"attention_resolutions has {one}; the levels' heights are {known}")
