"""An encoder-decoder: one transformer reads a text, another writes one after it, and may copy."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct
from jaxtyping import Array, Float, Int

from research.networks.transformer import Cache, Transformer
from research.networks.transformer_block import Linear, Memory, Norm


@struct.dataclass
class Source:
    """Inputs as the decoder reads them; `layers` and `copies` are made once, for all its steps.

    `layers` has the keys and values of cross-attention a layer, None where they are made anew.
    `copies` are the keys of copying (B, S, D), None where nothing is copied.
    """

    tokens_BxS: Any
    memory: Memory
    copies_BxSxD: Any = None
    layers: Any = None


@struct.dataclass
class Reading:
    """A decoder's cache, and which row of the Source each of its rows reads."""

    rows_B: Any
    written: Cache


class EncoderDecoder(nn.Module):
    """p(targets | inputs) with T5's parts (1910.10683, section 2.1) in both transformers.

    Args:
      vocabulary: of inputs and targets, which share their embeddings.
      input_length, target_length: of the longest input and target.
      width, layers, heads, head_size, hidden, positions, norm, norm_epsilon, activation, bias,
        tied, logit_scale, attention_scale, relative_buckets, relative_furthest, dropout, scan,
        remat, dtype, product_dtype: `Transformer`'s, of both; `layers` is of each.
      copies: whether a token may also be one of the input's, chosen by attention to them:
        p = g softmax(logits) + (1 - g) copied, g made of the hidden state (1704.04368, eq. 9). A
        key is of a place's encoding and of the token before it, a query of the hidden state and of
        the last token: so what followed once is found where it stands.

    A hidden state is the decoder's, and with `copies` also g's logit and V chances of a copy.
    """

    rewinds = True

    vocabulary: int
    input_length: int
    target_length: int
    width: int = 128
    layers: int = 2
    heads: int = 4
    head_size: int | None = None
    hidden: int | None = None
    positions: str = "relative"
    norm: str = "rms"
    norm_epsilon: float = 1e-6
    activation: str = "relu"
    bias: bool = False
    tied: bool = True
    logit_scale: float = 1.0
    attention_scale: float | None = None
    relative_buckets: int = 32
    relative_furthest: int = 128
    dropout: float = 0.0
    scan: bool = False
    remat: bool = False
    dtype: Any = jnp.float32
    product_dtype: Any = None
    copies: bool = False

    def setup(self) -> None:
        normal = nn.initializers.normal(0.02)
        table = self.param("tokens", normal, (self.vocabulary, self.width))
        self.token_table = table
        # An encoder has no logits: tied, it makes no kernel for them.
        self.encoder = self.transformer(self.input_length, table=table, causal=False, tied=True)
        self.decoder = self.transformer(self.target_length, table=table, cross=True)
        if self.copies:
            dtype = self.product_dtype or self.dtype
            self.copy_key = Linear(self.width, False, 0.02, dtype)
            self.copy_query = Linear(self.width, False, 0.02, dtype)
            self.copy_norm = Norm(self.norm, self.bias, self.norm_epsilon, self.dtype)
            self.generates = Linear(1, True, 0.02, jnp.float32)

    def __call__(
        self, tokens: Int[Array, "B T"], source: Source, *, train: bool = False
    ) -> Float[Array, "B T E"]:
        """Hidden states of what is written so far, given what is read."""
        hidden = self.decoder(tokens, memory=source.memory, train=train)
        return self.with_copies(hidden, tokens, source)

    def encode(
        self, inputs: Int[Array, "B S"], lengths: Int[Array, " B"], *, train: bool = False
    ) -> Source:
        """The first `lengths` tokens of each row, read. Dropout as `Transformer` has it."""
        seen_BxS = jnp.arange(inputs.shape[1]) < lengths[:, None]
        hidden = self.encoder(inputs, segments=seen_BxS.astype(jnp.int32), train=train)
        memory = Memory(hidden, lengths)
        if not self.copies:
            return Source(inputs, memory)
        before_BxS = jnp.pad(inputs[:, :-1], ((0, 0), (1, 0)))
        return Source(inputs, memory, self.copy_key(self.with_tokens(hidden, before_BxS)))

    def remember(self, source: Source) -> Source:
        """The source with what all steps of decoding need; layers must not be scanned."""
        layers = self.decoder.remember(self.decoder.empty_cache(1, 1), source.memory).memory
        return dataclasses.replace(source, layers=layers)

    def decode(
        self, tokens: Int[Array, "B T"], counts: Int[Array, " B"], cache: Reading, source: Source
    ) -> tuple[Float[Array, "B T E"], Reading]:
        """`Transformer.decode` of tokens that follow, where each row reads its row of `source`."""
        read: Source = jax.tree.map(lambda x: x[cache.rows_B], source)
        written = dataclasses.replace(cache.written, memory=read.layers)
        hidden, written = self.decoder.decode(tokens, counts, written)
        written = dataclasses.replace(written, memory=None)
        return self.with_copies(hidden, tokens, read), Reading(cache.rows_B, written)

    def logits(self, hidden: Float[Array, "*B E"]) -> Float[Array, "*B V"]:
        """Logits of every token, float32; with `copies` they are log-probabilities."""
        if not self.copies:
            return self.decoder.logits(hidden)
        hidden, gate, copied = jnp.split(hidden, [self.width, self.width + 1], axis=-1)
        generated = jax.nn.log_softmax(self.decoder.logits(hidden))
        return mixture(gate, generated, copied)

    def log_likelihood(
        self,
        tokens: Int[Array, "B T"],
        targets: Int[Array, "B T"],
        source: Source,
        *,
        train: bool = False,
    ) -> Float[Array, "B T"]:
        """log p of each target after the tokens up to its place: `logits`, of the targets alone."""
        hidden = self.decoder(tokens, memory=source.memory, train=train)
        logits_BxTxV = self.decoder.logits(hidden)
        generated = -optax.softmax_cross_entropy_with_integer_labels(logits_BxTxV, targets)
        if not self.copies:
            return generated
        hits_BxTxS = targets[..., None] == source.tokens_BxS[:, None]
        copied = jnp.sum(self.copy_weights(hidden, tokens, source) * hits_BxTxS, axis=-1)
        gate = self.generates(hidden.astype(jnp.float32))[..., 0]
        return mixture(gate, generated, copied)

    def with_copies(self, hidden: Any, tokens: Any, source: Source) -> Any:
        """Hidden states beside g's logit and the chance of each token to be what is copied."""
        if not self.copies:
            return hidden
        weights_BxTxS = self.copy_weights(hidden, tokens, source)
        chances_BxTxV = by_token(weights_BxTxS, source.tokens_BxS, vocabulary=self.vocabulary)
        hidden = hidden.astype(jnp.float32)
        return jnp.concatenate([hidden, self.generates(hidden), chances_BxTxV], axis=-1)

    def copy_weights(self, hidden: Any, tokens: Any, source: Source) -> Float[Array, "B T S"]:
        """Of each place of the input, to be what is copied."""
        queries = self.copy_query(self.with_tokens(hidden, tokens))
        return copy_weights(queries, source.copies_BxSxD, source.memory.lengths_B)

    def with_tokens(self, hidden: Any, tokens: Any) -> Any:
        """Hidden states beside embeddings of their size."""
        return jnp.concatenate([hidden, self.copy_norm(self.token_table[tokens])], axis=-1)

    @nn.nowrap
    def empty_cache(self, batch: int, capacity: int) -> Reading:
        """Nothing written yet; row i reads the source's row i."""
        decoder = self.transformer(self.target_length, cross=True)
        return Reading(jnp.arange(batch), decoder.empty_cache(batch, capacity))

    @nn.nowrap
    def transformer(self, length: int, **own: Any) -> Transformer:
        """One of the two."""
        ours, theirs = ({f.name for f in dataclasses.fields(c)} for c in (type(self), Transformer))
        given = {name: getattr(self, name) for name in ours & theirs - {"parent", "name"}}
        return Transformer(**(given | own), length=length)


def mixture(gate: Array, generated: Array, copied: Array) -> Array:
    """log(g exp(generated) + (1 - g) copied), g the logistic function of `gate`."""
    return jnp.logaddexp(
        jax.nn.log_sigmoid(gate) + generated,
        jax.nn.log_sigmoid(-gate) + jnp.log(jnp.maximum(copied, 1e-9)),
    )


def copy_weights(
    queries: Float[Array, "B T D"], keys: Float[Array, "B S D"], lengths: Int[Array, " B"]
) -> Float[Array, "B T S"]:
    """softmax(q.k / sqrt(D)) over the keys within the length, float32."""
    scores_BxTxS = jnp.einsum(
        "btd,bsd->bts", queries, keys, preferred_element_type=jnp.float32
    ) / math.sqrt(queries.shape[-1])
    seen_Bx1xS = (jnp.arange(keys.shape[1]) < lengths[:, None])[:, None]
    return jax.nn.softmax(jnp.where(seen_Bx1xS, scores_BxTxS, -jnp.inf))


def by_token(
    weights: Float[Array, "B T S"], tokens: Int[Array, "B S"], *, vocabulary: int
) -> Float[Array, "B T V"]:
    """The sum of a token's weights wherever it stands (1704.04368, equation 9)."""

    def of_row(weights_TxS: Array, tokens_S: Array) -> Array:
        empty_TxV = jnp.zeros((len(weights_TxS), vocabulary), weights_TxS.dtype)
        return empty_TxV.at[:, tokens_S].add(weights_TxS)

    return jax.vmap(of_row)(weights, tokens)
