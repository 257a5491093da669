"""A transformer's layer: attention to itself, perhaps to an encoder, and a feed-forward."""

import dataclasses
import math
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from flax import struct
from jaxtyping import Array, Float, Int

from kernels.attention import attention
from kernels.attention.decode import decode_attention
from kernels.linear import linear
from kernels.normalization import layer_norm, rms_norm
from research.errors import InputError, check_choice, nearest
from research.networks.positions import rotated

ACTIVATIONS = {
    "gelu": nn.gelu,  # GPT-2's, by tanh
    "gelu_exact": lambda x: nn.gelu(x, approximate=False),
    "relu": nn.relu,
    "silu": nn.silu,
}
GATED = {"swiglu": "silu", "geglu": "gelu", "reglu": "relu"}  # 2002.05202


@dataclasses.dataclass(frozen=True)
class Layer:
    """What a layer is made of; `Transformer` says what the fields mean."""

    width: int
    layers: int
    heads: int
    kv_heads: int | None
    head_size: int | None
    hidden: int | None
    causal: bool
    cross: bool
    rotary: bool
    norm: str
    norm_first: bool
    norm_epsilon: float
    activation: str
    bias: bool
    attention_scale: float | None
    dropout: float
    dtype: Any
    product_dtype: Any

    @property
    def size(self) -> int:
        """Channels of a head."""
        return self.head_size or self.width // self.heads

    @property
    def groups(self) -> int:
        """Heads of keys and values."""
        return self.kv_heads or self.heads

    def linear(self, width: int, name: str, *, to_stream: bool = False) -> "Linear":
        """Weights start as GPT-2's: what is added to the stream shrinks with the depth."""
        std = 0.02 / math.sqrt(2 * self.layers) if to_stream else 0.02
        return Linear(width, self.bias, std, self.product_dtype, name=name)

    def norm_layer(self, name: str) -> "Norm":
        return Norm(self.norm, self.bias, self.norm_epsilon, self.dtype, name=name)


@struct.dataclass
class Memory:
    """An encoder's output as a decoder sees it: the first `lengths` of its positions."""

    hidden_BxSxD: Any
    lengths_B: Any

    def segments(self, queries: int) -> tuple[Any, Any]:
        """Ids by which every query sees the keys within the length, and no other."""
        batch, keys = self.hidden_BxSxD.shape[:2]
        seen_BxS = jnp.arange(keys) < self.lengths_B[:, None]
        return jnp.ones((batch, queries), jnp.int32), seen_BxS.astype(jnp.int32)


class Linear(nn.Module):
    """x @ kernel + bias in x's dtype, by factors of `dtype`."""

    width: int
    bias: bool
    std: float
    dtype: Any

    @nn.compact
    def __call__(self, x: Any) -> Any:
        normal = nn.initializers.normal(self.std)
        kernel = self.param("kernel", normal, (x.shape[-1], self.width))
        bias = self.param("bias", nn.initializers.zeros, (self.width,)) if self.bias else None
        return linear(x, kernel, bias, dtype=self.dtype)


class Norm(nn.Module):
    """Layer or RMS norm; the kernel adds what is to be normalized to the stream at once."""

    kind: str
    bias: bool
    epsilon: float
    dtype: Any

    @nn.compact
    def __call__(self, x: Any, stream: Any = None) -> Any:
        """`normed`, or with a stream (normed, stream + x)."""
        check_choice("norm", self.kind, ("layer", "rms"))
        scale = self.param("scale", nn.initializers.ones, x.shape[-1:])
        x = x.astype(self.dtype)
        if self.kind == "rms":
            return rms_norm(x, scale, residual=stream, epsilon=self.epsilon)
        zeros = nn.initializers.zeros
        bias = self.param("bias", zeros, x.shape[-1:]) if self.bias else None
        return layer_norm(x, scale, bias, residual=stream, epsilon=self.epsilon)


class SelfAttention(nn.Module):
    """Multi-head attention of a sequence to itself, its queries, keys and values one product."""

    layer: Layer

    def setup(self) -> None:
        layer = self.layer
        self.qkv = layer.linear((layer.heads + 2 * layer.groups) * layer.size, "qkv")
        self.out = layer.linear(layer.width, "out", to_stream=True)

    def __call__(self, x_BxTxD: Any, positions: Any, segments: Any, bias: Any) -> Any:
        q, k, v = self.project(x_BxTxD, positions)
        out = attention(
            q,
            k,
            v,
            causal=self.layer.causal,
            segment_ids=segments,
            bias=bias,
            scale=self.layer.attention_scale,
        )
        return self.merge(out)

    def decode(self, x_BxTxD: Any, lengths_B: Any, cache: Any, bias: Any) -> Any:
        """The same for tokens that follow `lengths` cached ones; also the cache with theirs.

        `bias` hides from each query what comes after it; None where the only query is the last.
        """
        q, *new = self.project(x_BxTxD, lengths_B[:, None] + jnp.arange(x_BxTxD.shape[1]))
        keys, values = (appended(*each, lengths_B) for each in zip(cache, new, strict=True))
        scale = self.layer.attention_scale
        if bias is None:
            q_BxHxD = q[:, 0].astype(keys.dtype)
            out = decode_attention(q_BxHxD, keys, values, lengths_B + 1, scale=scale)[:, None]
        else:
            in_rows = (jnp.swapaxes(x, 1, 2).astype(q.dtype) for x in (keys, values))
            out = attention(q, *in_rows, bias=bias, scale=scale)
        return self.merge(out.astype(q.dtype)), (keys, values)

    def project(self, x_BxTxD: Any, positions: Any) -> tuple[Any, Any, Any]:
        heads, groups = self.layer.heads, self.layer.groups
        qkv = self.qkv(x_BxTxD).reshape(*x_BxTxD.shape[:2], -1, self.layer.size)
        q, k, v = jnp.split(qkv, [heads, heads + groups], axis=2)
        if self.layer.rotary:
            q, k = rotated(q, positions), rotated(k, positions)
        return q, k, v

    def merge(self, out_BxTxHxD: Any) -> Any:
        return self.out(out_BxTxHxD.reshape(*out_BxTxHxD.shape[:2], -1))


class CrossAttention(nn.Module):
    """Multi-head attention of a decoder to an encoder's output."""

    layer: Layer

    def setup(self) -> None:
        layer = self.layer
        self.q = layer.linear(layer.heads * layer.size, "q")
        self.kv = layer.linear(2 * layer.groups * layer.size, "kv")
        self.out = layer.linear(layer.width, "out", to_stream=True)

    def __call__(self, x_BxTxD: Any, memory: Memory) -> Any:
        return self.attend(x_BxTxD, self.keys_values(memory), memory)

    def keys_values(self, memory: Memory) -> tuple[Any, Any]:
        """What does not depend on the decoder's tokens."""
        shape = (*memory.hidden_BxSxD.shape[:2], -1, self.layer.size)
        k, v = jnp.split(self.kv(memory.hidden_BxSxD).reshape(shape), 2, axis=2)
        return k, v

    def attend(self, x_BxTxD: Any, keys_values: tuple[Any, Any], memory: Memory) -> Any:
        q = self.q(x_BxTxD).reshape(*x_BxTxD.shape[:2], -1, self.layer.size)
        segments = memory.segments(q.shape[1])
        scale = self.layer.attention_scale
        out = attention(q, *keys_values, segment_ids=segments, scale=scale)
        return self.out(out.reshape(*out.shape[:2], -1))


class FeedForward(nn.Module):
    """width -> hidden -> width; a gated one has a second product that scales the hidden units."""

    layer: Layer

    @nn.compact
    def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B D"]:
        """Raises InputError for an activation that isn't there."""
        layer, name = self.layer, self.layer.activation
        hidden = layer.hidden or 4 * layer.width
        if name in GATED:
            gate, x = jnp.split(layer.linear(2 * hidden, "up")(x), 2, axis=-1)
            x = ACTIVATIONS[GATED[name]](gate) * x
        elif name in ACTIVATIONS:
            x = ACTIVATIONS[name](layer.linear(hidden, "up")(x))
        else:
            raise InputError(f"no activation {name!r}; {nearest(name, [*ACTIVATIONS, *GATED])}")
        return layer.linear(layer.width, "down", to_stream=True)(x)


class Block(nn.Module):
    """One layer on (stream, delta): with `norm_first` the next norm adds delta to the stream.

    Without, what is normalized is the sum, and there is no delta.
    """

    layer: Layer

    def setup(self) -> None:
        self.attention = SelfAttention(self.layer)
        self.feed_forward = FeedForward(self.layer)
        self.attention_norm = self.layer.norm_layer("attention_norm")
        self.feed_forward_norm = self.layer.norm_layer("feed_forward_norm")
        if self.layer.cross:
            self.cross = CrossAttention(self.layer)
            self.cross_norm = self.layer.norm_layer("cross_norm")
        self.drop = nn.Dropout(self.layer.dropout)

    def __call__(
        self, carry: Any, positions: Any, segments: Any, bias: Any, memory: Any, train: bool
    ) -> tuple[Any, None]:
        def dropped(x: Any) -> Any:
            return self.drop(x, deterministic=not train)

        carry = self.add(
            self.attention_norm,
            carry,
            lambda x: dropped(self.attention(x, positions, segments, bias)),
        )
        if self.layer.cross:
            carry = self.add(self.cross_norm, carry, lambda x: dropped(self.cross(x, memory)))
        carry = self.add(self.feed_forward_norm, carry, lambda x: dropped(self.feed_forward(x)))
        return carry, None

    def decode(
        self, carry: Any, lengths: Any, cache: Any, bias: Any, memory: Any
    ) -> tuple[Any, Any]:
        """The same for tokens that follow cached ones; `memory` is (keys and values, Memory)."""

        def attend(x: Any) -> Any:
            nonlocal cache
            out, cache = self.attention.decode(x, lengths, cache, bias)
            return out

        carry = self.add(self.attention_norm, carry, attend)
        if self.layer.cross:
            carry = self.add(self.cross_norm, carry, lambda x: self.cross.attend(x, *memory))
        return self.add(self.feed_forward_norm, carry, self.feed_forward), cache

    def keys_values(self, memory: Memory) -> tuple[Any, Any]:
        return self.cross.keys_values(memory)

    def add(self, norm: Norm, carry: Any, sublayer: Any) -> tuple[Any, Any]:
        stream, delta = carry
        if self.layer.norm_first:
            normed, stream = norm(delta, stream)
            return stream, sublayer(normed)
        normed, _ = norm(sublayer(stream), stream)
        return normed, None


def appended(
    cache: Float[Array, "B K S D"], new: Float[Array, "B T K D"], lengths: Int[Array, " B"]
) -> Float[Array, "B K S D"]:
    """The cache with the new rows written after its first `lengths`, as far as they fit.

    A row may have fewer new ones than T: what is written for the others is beyond its length, where
    nothing is read before it is written again.
    """
    # By every head's index: of one row XLA would copy the cache to write a slice over all heads.
    rows_Bx1x1, heads_K = jnp.arange(len(cache))[:, None, None], jnp.arange(cache.shape[1])
    at_BxTx1 = (lengths[:, None] + jnp.arange(new.shape[1]))[..., None]
    return cache.at[rows_Bx1x1, heads_K, at_BxTx1].set(new.astype(cache.dtype), mode="drop")
