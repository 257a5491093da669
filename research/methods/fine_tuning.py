"""What methods share that fine-tune an encoder of texts together with a new last layer."""

import abc
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from research.data.tokenizers import Tokenizer
from research.errors import InputError, nearest
from research.pretrained import minilm, weights
from research.training.method import Aux, Method, Objective
from research.training.optimizers import averaged
from research.training.rng import named
from research.training.state import TrainState
from research.training.types import Batch, Metrics, Params, Rng, Scalar


class Pretrained(NamedTuple):
    """A published encoder: its network, and its weights in a tree of their shapes."""

    network: Callable[[], Any]
    params: Callable[[Params], Params]


PRETRAINED = {"minilm": Pretrained(minilm.network, minilm.params)}
# What of a network may be otherwise: how it is computed, and what the weights' shapes tell.
FREE = {"dropout", "scan", "remat", "dtype", "product_dtype", "kv_heads", "head_size", "hidden"}


class FineTunedEncoder(Method):
    """An encoder, fresh or pretrained, and a head on its hidden states, moved together.

    A batch has `tokens`, `segments` and `types` (B, T) as `encoding.framed` makes them, and what
    the leaf says. `network.apply({'params': p}, tokens, None, segments, train=...)` gives hidden
    states (B, T, D); a network with `types` is given those too.

    Args:
      pretrained: one of `PRETRAINED`, whose weights the encoder starts from; None draws them.

    Raises:
      InputError: there are no such weights, or `network` computes otherwise than theirs; from
        `init_params`, they cannot be had or have other shapes.
    """

    def __init__(
        self,
        *,
        network: Any,
        optimizer: optax.GradientTransformation,
        tokenizer: Tokenizer,
        pretrained: str | None = None,
    ):
        if pretrained is not None and pretrained not in PRETRAINED:
            raise InputError(
                f"method.pretrained={pretrained!r} is unknown; {nearest(pretrained, PRETRAINED)}"
            )
        if pretrained is not None:
            check_network(network, PRETRAINED[pretrained].network(), pretrained)
        self.network = network
        self.optimizer = optimizer
        self.tokenizer = tokenizer
        self.pretrained = pretrained

    @abc.abstractmethod
    def init_head(self, rng: Rng) -> Params:
        """Fresh parameters of what follows the encoder."""

    @abc.abstractmethod
    def per_example(
        self, params: Params, batch: Batch, dropout: Rng | None = None
    ) -> dict[str, Float[Array, " B"]]:
        """`loss` and others of each example; with `dropout` as in training."""

    def init_params(self, rng: Rng, batch: Batch) -> dict[str, Params]:
        encoder = self.init_encoder(named(rng, "encoder"))
        return {"model": {"encoder": encoder, "head": self.init_head(named(rng, "head"))}}

    def init_encoder(self, rng: Rng) -> Params:
        if self.pretrained is None:
            return self.network.init(rng, jnp.zeros((1, 1), jnp.int32))["params"]
        found = PRETRAINED[self.pretrained].params(weights.shapes(self.network))
        return jax.tree.map(jnp.asarray, found)

    def objectives(self) -> Sequence[Objective]:
        return [Objective("model", self.loss, self.optimizer)]

    def loss(self, params: Params, state: TrainState, batch: Batch, rng: Rng) -> tuple[Scalar, Aux]:
        """The mean of the examples' losses; the means of the other metrics are logged."""
        means = jax.tree.map(jnp.mean, self.per_example(params, batch, named(rng, "dropout")))
        loss = means.pop("loss")
        return loss, Aux(means)

    def evaluate(self, state: TrainState, batch: Batch, rng: Rng) -> Metrics:
        """The metrics of each example (B,) by the averaged weights."""
        return self.per_example(averaged(state, "model"), batch)

    def hidden(
        self, params: Params, batch: Batch, dropout: Rng | None = None
    ) -> Float[Array, "B T D"]:
        """The encoder's last hidden states."""
        types = {"types": batch["types"]} if hasattr(self.network, "types") else {}
        return self.network.apply(
            {"params": params["encoder"]},
            *(batch["tokens"], None, batch["segments"]),
            **types,
            train=dropout is not None,
            rngs=None if dropout is None else {"dropout": dropout},
        )


def check_network(network: Any, published: Any, name: str) -> None:
    """Raises InputError where `network` has another setting than `published`, but those `FREE`.

    Many change no shape, so that the weights would be read and mean nothing.
    """
    if type(network) is not type(published):
        own, right = (type(made).__name__ for made in (network, published))
        raise InputError(f"the network is a {own}, and {name} is a {right}")
    for field in dataclasses.fields(published):
        own, right = (getattr(made, field.name) for made in (network, published))
        if field.name not in FREE and own != right:
            raise InputError(f"network.{field.name} is {own!r}, and {name}'s is {right!r}")
