"""Temporal convolutional networks (1803.01271): residual blocks of dilated causal convolutions.

Inside, arrays are channels first (C, T, B): a convolution's taps are then shifts of long rows.
"""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from kernels.machine import machine
from research.errors import check_least
from research.networks.recurrent import Inputs

Cache = tuple[tuple[Array, ...], ...]  # the last inputs of a block's convolutions, (B, steps, C)


class TCN(nn.Module):
    """`levels` blocks of `width` channels; the taps of a convolution, `kernel_size` of them, are 1,
    2, 4, ... steps apart, and each output sees `receptive_field()` inputs, its own the last.

    `vocabulary`, `outputs`, `length` and `dropout` are `Recurrent`'s, but dropout comes after every
    convolution.
    """

    rewinds = False  # a cache holds the last inputs alone

    width: int = 128
    levels: int = 8
    kernel_size: int = 8
    dropout: float = 0.0
    vocabulary: int | None = None
    outputs: int | None = None
    length: int | None = None

    def setup(self) -> None:
        """Raises InputError: a size is less than 1."""
        check_least(1, width=self.width, levels=self.levels, kernel_size=self.kernel_size)
        if self.vocabulary is not None:
            self.embedding = nn.Embed(self.vocabulary, self.width)
        sizes = (self.width, self.kernel_size, self.dropout)
        self.block = [Block(*sizes) for _ in range(self.levels)]
        self.head = nn.Dense(
            self.outputs or self.vocabulary or 0, kernel_init=nn.initializers.normal(0.01)
        )

    def receptive_field(self) -> int:
        """1 + 2 (k - 1) (2^levels - 1) inputs."""
        return 1 + 2 * (self.kernel_size - 1) * (2**self.levels - 1)

    def __call__(
        self,
        tokens: Inputs,
        positions: Int[Array, "B T"] | None = None,
        segments: Int[Array, "B T"] | None = None,
        train: bool = False,
    ) -> Float[Array, "B T D"]:
        """Hidden states; taps in another of `segments` count as 0. Positions are not read."""
        h_CxTxB = self.features(tokens)
        within_TxB = None if segments is None else segments.T
        for level, block in enumerate(self.block):
            h_CxTxB = block(h_CxTxB, dilation=2**level, segments=within_TxB, train=train)
        return jnp.swapaxes(h_CxTxB, 0, 2)

    def last(self, inputs: Inputs, train: bool = False) -> Float[Array, "B D"]:
        """The hidden state of the last step alone, by its dependencies alone.

        At level l these are every 2^l-th step, counted from the last: each block is given half as
        many steps as the one before, its taps one such step apart. A quarter of the work or less.
        """
        h_CxTxB = self.features(inputs)
        for block in self.block:
            h_CxTxB = block(h_CxTxB, dilation=1, stride=2, train=train)
        return h_CxTxB[:, -1].T

    def logits(self, hidden: Float[Array, "*B D"]) -> Float[Array, "*B V"]:
        return self.head(hidden).astype(jnp.float32)

    def empty_cache(self, batch: int, capacity: int) -> Cache:
        """Zeros before the first token; any number of tokens fits. Of a network of tokens."""
        back = [(self.kernel_size - 1) * 2**level for level in range(self.levels)]
        return tuple((jnp.zeros((batch, steps, self.width)),) * 2 for steps in back)

    def decode(
        self, tokens: Int[Array, "B T"], counts: Int[Array, " B"], cache: Cache
    ) -> tuple[Float[Array, "B T D"], Cache]:
        """Hidden states of tokens after those in the cache, and the cache with row b's first
        `counts[b]` of them; hidden states after these are of no use."""
        h_CxTxB, caches = self.features(tokens), []
        for level, (block, before) in enumerate(zip(self.block, cache, strict=True)):
            h_CxTxB, seen = block.extend(h_CxTxB, before, dilation=2**level)
            caches.append(tuple(newest(all_, counts, tokens.shape[1]) for all_ in seen))
        return jnp.swapaxes(h_CxTxB, 0, 2), tuple(caches)

    def features(self, inputs: Inputs) -> Float[Array, "C T B"]:
        vectors = inputs if self.vocabulary is None else self.embedding(inputs)
        return jnp.swapaxes(vectors, 0, 2)


class Block(nn.Module):
    """Two weight-normalised convolutions with ReLU and dropout, and the input added (figure 1b)."""

    width: int
    kernel_size: int
    dropout: float

    def setup(self) -> None:
        self.first = Convolution(self.width, self.kernel_size)
        self.second = Convolution(self.width, self.kernel_size)
        self.drop = nn.Dropout(self.dropout)
        self.shortcut = Shortcut(self.width)

    def __call__(
        self,
        x: Float[Array, "C T B"],
        *,
        dilation: int,
        stride: int = 1,
        segments: Int[Array, "T B"] | None = None,
        train: bool = False,
    ) -> Float[Array, "D S B"]:
        """Every `stride`-th step of the block's output, the last among them."""
        back = ((0, 0), ((self.kernel_size - 1) * dilation, 0), (0, 0))
        masks = None if segments is None else within(segments, self.kernel_size, dilation)
        h = nn.relu(self.first(jnp.pad(x, back), dilation, 1, masks))
        h = self.drop(h, deterministic=not train)
        h = nn.relu(self.second(jnp.pad(h, back), dilation, stride, masks))
        h = self.drop(h, deterministic=not train)
        return nn.relu(h + self.shortcut(every(x, stride)))

    def extend(
        self, x: Float[Array, "C T B"], before: tuple[Array, ...], *, dilation: int
    ) -> tuple[Float[Array, "D T B"], tuple[Array, Array]]:
        """The output after the inputs `before`, and all inputs of both convolutions."""
        earlier = [jnp.swapaxes(part, 0, 2) for part in before]
        first = jnp.concatenate([earlier[0], x], axis=1)
        h = nn.relu(self.first(first, dilation))
        second = jnp.concatenate([earlier[1], h], axis=1)
        h = nn.relu(self.second(second, dilation))
        return nn.relu(h + self.shortcut(x)), (first, second)


class Convolution(nn.Module):
    """A dilated convolution whose kernel is scale * v / ||v|| per output (1602.07868).

    It starts as PyTorch's does, v and bias uniform in ±1/sqrt(taps * C) and scale = ||v||: the
    authors' N(0, 0.01) is set on a weight that their weight norm makes anew from v and scale.
    """

    width: int
    kernel_size: int

    @nn.compact
    def __call__(
        self,
        padded: Float[Array, "C P B"],
        dilation: int,
        stride: int = 1,
        masks: Bool[Array, "K T B"] | None = None,
    ) -> Float[Array, "D S B"]:
        """Every `stride`-th of the outputs that lie whole in the input, the last among them."""
        shape = (self.kernel_size, padded.shape[0], self.width)
        v = self.param("kernel", uniform(shape), shape)
        scale = self.param("scale", lambda rng: norm(v))
        bias = self.param("bias", uniform(shape), shape[2:])
        kernel = v * (scale / norm(v))
        if machine().platform == "cpu" or masks is not None:
            # The taps are made again in the backward pass: eight times the input is not kept.
            product = jax.checkpoint(
                functools.partial(by_product, dilation=dilation, stride=stride)
            )
            out = product(padded, kernel, masks=masks)
        else:
            out = by_convolution(padded, kernel, dilation=dilation, stride=stride)
        return out + bias[:, None, None]


class Shortcut(nn.Module):
    """The input itself, or a 1x1 convolution of it where the channels are others."""

    width: int

    @nn.compact
    def __call__(self, x: Float[Array, "C T B"]) -> Float[Array, "D T B"]:
        if len(x) == self.width:
            return x
        kernel = self.param("kernel", nn.initializers.normal(0.01), (len(x), self.width))
        bias = self.param("bias", uniform((1, len(x))), (self.width,))
        return jnp.einsum("ctb,cd->dtb", x, kernel) + bias[:, None, None]


def by_product(
    padded: Float[Array, "C P B"],
    kernel: Float[Array, "K C D"],
    *,
    dilation: int,
    stride: int,
    masks: Bool[Array, "K T B"] | None = None,
) -> Float[Array, "D S B"]:
    """The taps one under another, and one product with them: on a CPU the quickest form.

    A step of 24 channels x 600 steps or 10 x 1020, batch 32, one core: forward and backward 8.2
    and 3.5 ms; XLA's convolution 10.1 and 9.8; a product a tap 15.3 and 15.0.
    """
    taps, channels, _ = kernel.shape
    steps = padded.shape[1] - (taps - 1) * dilation
    shifted = [padded[:, j * dilation :][:, :steps] for j in range(taps)]
    if masks is not None:
        shifted = [jnp.where(mask, tap, 0) for mask, tap in zip(masks, shifted, strict=True)]
    rows = jnp.concatenate([every(tap, stride) for tap in shifted])
    out = kernel.reshape(taps * channels, -1).T @ rows.reshape(taps * channels, -1)
    return out.reshape(-1, *rows.shape[1:])


def by_convolution(
    padded: Float[Array, "C P B"], kernel: Float[Array, "K C D"], *, dilation: int, stride: int
) -> Float[Array, "D S B"]:
    """XLA's convolution, an accelerator's form."""
    steps = padded.shape[1] - (len(kernel) - 1) * dilation
    return jax.lax.conv_general_dilated(
        padded[:, (steps - 1) % stride :],
        kernel,
        (stride,),
        "VALID",
        rhs_dilation=(dilation,),
        dimension_numbers=("CWN", "WIO", "CWN"),
    )


def every(x: Float[Array, "C T B"], stride: int) -> Float[Array, "C S B"]:
    """Every `stride`-th step, the last among them."""
    return x[:, (x.shape[1] - 1) % stride :: stride]


def within(segments: Int[Array, "T B"], taps: int, dilation: int) -> Bool[Array, "K T B"]:
    """Whether each tap of each step lies in the step's own segment."""
    back = (taps - 1) * dilation
    padded = jnp.pad(segments, ((back, 0), (0, 0)), constant_values=-1)
    shifted = [padded[j * dilation :][: len(segments)] for j in range(taps)]
    return jnp.stack([tap == segments for tap in shifted])


def newest(
    seen_CxPxB: Float[Array, "C P B"], counts_B: Int[Array, " B"], new: int
) -> Float[Array, "B S C"]:
    """What a cache keeps of its steps and `new` more, of which row b took `counts[b]`."""
    places = counts_B[:, None] + jnp.arange(seen_CxPxB.shape[1] - new)
    return jnp.take_along_axis(jnp.swapaxes(seen_CxPxB, 0, 2), places[..., None], axis=1)


def norm(v: Float[Array, "K C D"]) -> Float[Array, " D"]:
    return jnp.sqrt(jnp.sum(v**2, axis=(0, 1)))


def uniform(shape: tuple[int, ...]) -> nn.initializers.Initializer:
    """Uniform in ±1/sqrt(fan in) of a kernel of that shape, its outputs last."""
    bound = (shape[0] * shape[1]) ** -0.5
    return lambda rng, shape, dtype=jnp.float32: jax.random.uniform(
        rng, shape, dtype, minval=-bound, maxval=bound
    )
