"""The transformer: one network for decoders, encoders and the two together."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct
from jaxtyping import Array, Float, Int

from kernels.linear import linear
from research.errors import InputError, check_choice, check_least
from research.networks.positions import POSITIONS, relative_buckets, sinusoids
from research.networks.transformer_block import Block, Layer, Memory

Inputs = Int[Array, "B T"] | Float[Array, "B T C"]


@struct.dataclass
class Cache:
    """Keys and values (B, K, S, D) a layer, of which the first `lengths` positions are set.

    `memory` is what a decoder sees of an encoder: keys and values a layer, and the Memory.
    """

    lengths_B: Any
    layers: Any
    memory: Any = None


class Transformer(nn.Module):
    """Tokens to hidden states, and hidden states to logits of tokens (1706.03762).

    A decoder (`causal`), an encoder, or with `cross` a decoder that also attends to a `Memory`.

    Args:
      length: the longest sequence.
      vocabulary: how many tokens there are. Without, it reads vectors of so many `channels` and its
        logits are so many `outputs`.
      width, layers, heads: `hidden` units of the feed-forward are 4 * width unless given;
        `kv_heads` fewer heads of keys and values are shared by the queries' (2305.13245);
        `head_size` is width / heads unless given.
      positions: learned, sinusoidal, rotary (2104.09864), relative (T5's buckets) or none.
      norm: layer or rms; before each sublayer (`norm_first`) or after its sum.
      activation: gelu, gelu_exact, relu, silu, or gated: swiglu, geglu, reglu.
      bias: whether products and norms have biases.
      tied: logits are products with the embeddings, else with a matrix of their own.
      embedding_norm, types, head: BERT's: a norm of the embeddings, embeddings of token types, a
        layer with a norm before the logits and a bias on them.
      logit_scale, attention_scale: factors of logits and of q.k; T5 has width^-0.5 and 1.
      dropout: of the embeddings and of what each sublayer adds; attention weights have none.
      scan: the layers are one, compiled once, over stacked parameters; `remat` keeps only the
        layers' inputs for the gradient.
      dtype: of what passes between layers. Parameters, logits and, with `norm_first`, the residual
        stream are float32.
      product_dtype: of the factors of products with weights, and of cached keys and values;
        `dtype` unless given.
      table: embeddings of tokens (V, D) that are another's, who shares them; else its own.
    """

    rewinds = True  # a cache that is shorter is one of fewer tokens

    length: int
    vocabulary: int | None = None
    channels: int | None = None
    outputs: int | None = None
    width: int = 128
    layers: int = 4
    heads: int = 4
    kv_heads: int | None = None
    head_size: int | None = None
    hidden: int | None = None
    causal: bool = True
    cross: bool = False
    positions: str = "learned"
    norm: str = "layer"
    norm_first: bool = True
    norm_epsilon: float = 1e-5
    activation: str = "gelu"
    bias: bool = True
    tied: bool = True
    embedding_norm: bool = False
    types: int = 0
    head: bool = False
    logit_scale: float = 1.0
    attention_scale: float | None = None
    relative_buckets: int = 32
    relative_furthest: int = 128
    dropout: float = 0.0
    scan: bool = False
    remat: bool = False
    dtype: Any = jnp.float32
    product_dtype: Any = None
    table: Any = None

    def setup(self) -> None:
        check_choice("positions", self.positions, POSITIONS)
        check_least(1, width=self.width, layers=self.layers, heads=self.heads)
        check_least(0, types=self.types)
        for name in ("kv_heads", "head_size", "hidden"):
            if (size := getattr(self, name)) is not None:
                check_least(1, **{name: size})
        if self.heads % (self.kv_heads or self.heads):
            raise InputError(f"kv_heads={self.kv_heads} does not divide heads={self.heads}")
        if not self.head_size and self.width % self.heads:
            raise InputError(
                f"width={self.width} is not divided by heads={self.heads}: set head_size"
            )
        if not self.norm_epsilon > 0:
            raise InputError(f"norm_epsilon is {self.norm_epsilon}; it must be above 0")
        if self.tied and self.outputs not in (None, self.vocabulary):
            raise InputError(
                f"network.tied takes the tokens' embeddings for logits: {self.outputs} outputs "
                "need tied=False"
            )
        normal = nn.initializers.normal(0.02)
        read, written = self.vocabulary or self.channels, self.outputs or self.vocabulary
        self.token_table = self.table
        if self.table is None:
            self.token_table = self.param("tokens", normal, (read, self.width))
        if self.positions == "learned":
            self.position_table = self.param("positions", normal, (self.length, self.width))
        if self.positions == "relative":
            shape = (self.relative_buckets, self.heads)
            self.relative_table = self.param("relative", normal, shape)
        if self.types:
            self.type_table = self.param("types", normal, (self.types, self.width))
        layer = self.layer()
        if self.embedding_norm:
            self.first_norm = layer.norm_layer("embedding_norm")
        if self.norm_first:
            self.last_norm = layer.norm_layer("last_norm")
        self.drop = nn.Dropout(self.dropout)
        self.blocks = self.stack(layer)
        if self.head:
            self.head_dense = layer.linear(self.width, "head")
            self.head_norm = layer.norm_layer("head_norm")
            zeros = nn.initializers.zeros
            self.logit_bias = self.param("logit_bias", zeros, (written,))
        if not self.tied:
            self.logit_kernel = self.param("logits", normal, (self.width, written))

    def __call__(
        self,
        tokens: Inputs,
        positions: Int[Array, "B T"] | None = None,
        segments: Int[Array, "B T"] | None = None,
        *,
        types: Int[Array, "B T"] | None = None,
        memory: Memory | None = None,
        train: bool = False,
    ) -> Float[Array, "B T D"]:
        """The last layer's hidden states.

        `positions` count from 0 unless given; a token sees its own segment alone. Training draws
        dropout from the rng stream `dropout`. Raises InputError for sequences beyond `length`.
        """
        if tokens.shape[1] > self.length:
            raise InputError(f"{tokens.shape[1]} tokens do not fit the context of {self.length}")
        places = jnp.arange(tokens.shape[1])[None] if positions is None else positions
        x = self.drop(self.embed(tokens, places, types), deterministic=not train)
        steps = jnp.arange(tokens.shape[1])
        bias = self.relative_bias(steps[None, None] - steps[None, :, None])
        given = (places, segments, bias, memory, train)
        carry = self.start(x)
        for block in self.blocks:
            carry, _ = block(carry, *given)
        return self.finish(carry)

    def last(self, tokens: Inputs, train: bool = False) -> Float[Array, "B D"]:
        """The hidden state of the last token."""
        return self(tokens, train=train)[:, -1]

    def logits(self, hidden: Float[Array, "*B D"]) -> Float[Array, "*B V"]:
        """Logits of every token, or the outputs, float32."""
        if self.head:
            hidden = self.head_norm(nn.gelu(self.head_dense(hidden), approximate=False))
        kernel = self.token_table.T if self.tied else self.logit_kernel
        bias = self.logit_bias if self.head else None
        hidden = hidden.astype(jnp.float32) * self.logit_scale
        return linear(hidden, kernel, bias, dtype=self.product_dtype or self.dtype)

    def decode(
        self, tokens: Int[Array, "B T"], counts: Int[Array, " B"], cache: Cache
    ) -> tuple[Float[Array, "B T D"], Cache]:
        """Hidden states of tokens that follow the cached ones; the cache then has `counts` more.

        Of the T tokens a row has `counts`; what stands after them is of no meaning. Layers must
        not be scanned (`unrolled` takes their parameters apart).
        """
        new = tokens.shape[1]
        places_BxT = cache.lengths_B[:, None] + jnp.arange(new)
        carry = self.start(self.embed(tokens, jnp.minimum(places_BxT, self.length - 1)))
        bias = None
        if new > 1 or self.positions == "relative":
            distance_BxTxS = jnp.arange(cache.layers[0][0].shape[2]) - places_BxT[..., None]
            bias = jnp.where(distance_BxTxS <= 0, 0.0, -jnp.inf)[:, None]
            if self.positions == "relative":
                bias += self.relative_bias(distance_BxTxS)
        memory = [None] * self.layers if cache.memory is None else cache.memory
        layers = []
        for block, own, seen in zip(self.blocks, cache.layers, memory, strict=True):
            carry, own = block.decode(carry, cache.lengths_B, own, bias, seen)
            layers.append(own)
        return self.finish(carry), Cache(cache.lengths_B + counts, tuple(layers), cache.memory)

    @nn.nowrap
    def empty_cache(self, batch: int, capacity: int) -> Cache:
        """A cache of nothing, for `capacity` tokens a row."""
        layer = self.layer()
        empty = jnp.zeros((batch, layer.groups, capacity, layer.size), layer.product_dtype)
        return Cache(jnp.zeros(batch, jnp.int32), ((empty, empty),) * self.layers)

    def remember(self, cache: Cache, memory: Memory) -> Cache:
        """The cache with what a decoder will see of an encoder's output."""
        keys_values = tuple((block.keys_values(memory), memory) for block in self.blocks)
        return dataclasses.replace(cache, memory=keys_values)

    @nn.nowrap
    def layer(self) -> Layer:
        own = {
            f.name: getattr(self, f.name) for f in dataclasses.fields(Layer) if f.name != "rotary"
        }
        own["product_dtype"] = self.product_dtype or self.dtype
        return Layer(**own, rotary=self.positions == "rotary")

    def stack(self, layer: Layer) -> list[Any]:
        """The layers, or one that stands for all of them."""
        block: Any = Block
        if self.remat:
            block = nn.remat(Block, prevent_cse=not self.scan, static_argnums=(6,))
        if not self.scan:
            return [block(layer, name=f"block{i}") for i in range(self.layers)]
        scanned = nn.scan(
            block,
            variable_axes={"params": 0},
            split_rngs={"params": True, "dropout": True},
            in_axes=nn.broadcast,
            length=self.layers,
        )
        return [scanned(layer, name="blocks")]

    def embed(self, tokens: Any, positions: Any, types: Any = None) -> Any:
        x = tokens @ self.token_table if self.vocabulary is None else self.token_table[tokens]
        if self.positions == "learned":
            x = x + self.position_table[positions]
        if self.positions == "sinusoidal":
            x = x + sinusoids(self.length, self.width)[positions]
        if self.types:
            x = x + self.type_table[jnp.zeros_like(tokens) if types is None else types]
        return self.first_norm(x) if self.embedding_norm else x

    def relative_bias(self, distance_BxTxS: Any) -> Any:
        """(B, H, T, S), None where positions are told otherwise."""
        if self.positions != "relative":
            return None
        bucket = relative_buckets(
            distance_BxTxS,
            buckets=self.relative_buckets,
            furthest=self.relative_furthest,
            causal=self.causal,
        )
        return jnp.moveaxis(self.relative_table[bucket], -1, 1)

    def start(self, x: Any) -> tuple[Any, Any]:
        x = x.astype(self.dtype)
        return (jnp.zeros(x.shape, jnp.float32), x) if self.norm_first else (x, None)

    def finish(self, carry: tuple[Any, Any]) -> Any:
        stream, delta = carry
        return self.last_norm(delta, stream)[0] if self.norm_first else stream


def unrolled(params: Any) -> Any:
    """Parameters of scanned layers, at any depth, as of layers one by one; others as they are."""
    if not isinstance(params, Mapping):
        return params
    found = {name: unrolled(value) for name, value in params.items() if name != "blocks"}
    if "blocks" in params:
        stacked = params["blocks"]
        for i in range(len(jax.tree.leaves(stacked)[0])):
            found[f"block{i}"] = jax.tree.map(lambda x, i=i: x[i], stacked)
    return found
