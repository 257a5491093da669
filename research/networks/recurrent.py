"""Recurrent networks: layers of RNN, LSTM or GRU cells over tokens or vectors, causal by nature."""

import math

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from research.errors import check_choice, check_least
from research.networks.recurrence import CELLS, Cell, State, Weights, recurrence, step

Inputs = Int[Array, "B T"] | Float[Array, "B T C"]
Cache = tuple[State, ...]  # a layer's states each, (B, H)


class Recurrent(nn.Module):
    """`layers` of `width` cells, `rnn`, `lstm` or `gru`.

    With a `vocabulary` it reads tokens, embedded in `width`, and `logits` are theirs; with
    `outputs` it reads vectors (B, T, C), and `logits` are so many numbers. `dropout` is of the
    embeddings and of every layer's output. `length` is that of a language model's windows, which
    no cache ends at.
    """

    rewinds = False  # a state has forgotten how it was before

    cell: str = "lstm"
    width: int = 128
    layers: int = 1
    dropout: float = 0.0
    vocabulary: int | None = None
    outputs: int | None = None
    length: int | None = None

    def setup(self) -> None:
        """Raises InputError: there is no such cell, or a size is less than 1."""
        check_choice("cell", self.cell, CELLS)
        check_least(1, width=self.width, layers=self.layers)
        if self.vocabulary is not None:
            self.embedding = nn.Embed(self.vocabulary, self.width)
        self.layer = [Layer(self.cell, self.width) for _ in range(self.layers)]
        self.drop = nn.Dropout(self.dropout)
        self.head = nn.Dense(self.outputs or self.vocabulary or 0)

    def __call__(
        self,
        tokens: Inputs,
        positions: Int[Array, "B T"] | None = None,
        segments: Int[Array, "B T"] | None = None,
        train: bool = False,
    ) -> Float[Array, "B T D"]:
        """Hidden states; where `segments` change, the state begins anew. Positions are not read."""
        keep = None if segments is None else same_as_before(segments)
        h = self.features(tokens, train)
        for layer in self.layer:
            h = self.drop(layer(h, keep), deterministic=not train)
        return h

    def last(self, inputs: Inputs, train: bool = False) -> Float[Array, "B D"]:
        """The hidden state after the last step."""
        return self(inputs, train=train)[:, -1]

    def logits(self, hidden: Float[Array, "*B D"]) -> Float[Array, "*B V"]:
        return self.head(hidden).astype(jnp.float32)

    def empty_cache(self, batch: int, capacity: int) -> Cache:
        """The states before the first token; any number of tokens fits."""
        zero = jnp.zeros((batch, self.width))
        return ((zero,) * CELLS[self.cell].states,) * self.layers

    def decode(
        self, tokens: Inputs, counts: Int[Array, " B"], cache: Cache
    ) -> tuple[Float[Array, "B T D"], Cache]:
        """Hidden states of tokens after those in the cache, and the cache with row b's first
        `counts[b]` of them; hidden states after these are of no use."""
        appended = jnp.arange(tokens.shape[1]) < counts[:, None]
        h, states = self.features(tokens, train=False), []
        for layer, state in zip(self.layer, cache, strict=True):
            h, state = layer.extend(h, appended, state)
            states.append(state)
        return h, tuple(states)

    def features(self, inputs: Inputs, train: bool) -> Float[Array, "B T C"]:
        if self.vocabulary is None:
            return inputs
        return self.drop(self.embedding(inputs), deterministic=not train)


class Layer(nn.Module):
    """One layer of cells. Weights and biases start uniform in ±1/sqrt(width), as PyTorch's, which
    the papers we compare with use; the LSTM's forget bias is 1 more."""

    cell: str
    width: int

    @nn.compact
    def weights(self, channels: int) -> tuple[Cell, Weights]:
        cell = CELLS[self.cell]
        gates, bound = cell.gates * self.width, 1 / math.sqrt(self.width)

        def uniform(rng: jax.Array, shape: tuple[int, ...]) -> jax.Array:
            return jax.random.uniform(rng, shape, minval=-bound, maxval=bound)

        def bias(rng: jax.Array, shape: tuple[int, ...]) -> jax.Array:
            forget = jnp.arange(gates) // self.width == 1
            return uniform(rng, shape) + (forget if self.cell == "lstm" else 0)

        return cell, Weights(
            self.param("input_kernel", uniform, (channels, gates)),
            self.param("recurrent_kernel", uniform, (self.width, gates)),
            self.param("input_bias", bias, (gates,)),
            self.param("recurrent_bias", uniform, (gates,)),
        )

    def __call__(
        self, x_BxTxC: Float[Array, "B T C"], keep_BxT: Bool[Array, "B T"] | None
    ) -> Float[Array, "B T H"]:
        cell, weights = self.weights(x_BxTxC.shape[-1])
        state = (jnp.zeros((len(x_BxTxC), self.width)),) * cell.states
        keep = None if keep_BxT is None else keep_BxT.T[..., None].astype(x_BxTxC.dtype)
        hidden_TxBxH = recurrence(cell, weights, jnp.swapaxes(x_BxTxC, 0, 1), state, keep)
        return jnp.swapaxes(hidden_TxBxH, 0, 1)

    def extend(
        self, x_BxTxC: Float[Array, "B T C"], appended_BxT: Bool[Array, "B T"], state: State
    ) -> tuple[Float[Array, "B T H"], State]:
        """Hidden states from `state` on, and each row's state after what was appended to it."""
        cell, weights = self.weights(x_BxTxC.shape[-1])

        def one(state: State, x: tuple[Array, Array]) -> tuple[State, Array]:
            inputs, appended = x
            after = step(cell, weights, inputs, state)
            pairs = zip(after, state, strict=True)
            kept = [jnp.where(appended[:, None], new, old) for new, old in pairs]
            return tuple(kept), after[0]

        steps = (jnp.swapaxes(x_BxTxC, 0, 1), appended_BxT.T)
        state, hidden_TxBxH = jax.lax.scan(one, state, steps)
        return jnp.swapaxes(hidden_TxBxH, 0, 1), state


def same_as_before(segments: Int[Array, "B T"]) -> Bool[Array, "B T"]:
    """False where a segment begins, and at the first step."""
    before = jnp.pad(segments[:, :-1], ((0, 0), (1, 0)), constant_values=-1)
    return segments == before
