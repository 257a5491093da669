"""A classifier of texts: an encoder's mean hidden state and a linear layer, fine-tuned together."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from kernels.linear import linear
from research.data.examples import Dataset
from research.data.tokenizers import Tokenizer
from research.errors import InputError, nearest
from research.evaluation.classification import most_frequent, share_nats
from research.pretrained import minilm, weights
from research.training.method import Aux, Method, Objective
from research.training.optimizers import averaged
from research.training.rng import named
from research.training.state import TrainState
from research.training.types import Batch, Metrics, Params, Rng, Scalar

PRETRAINED: dict[str, Callable[[Params], Params]] = {"minilm": minilm.params}


class TextClassifier(Method):
    """p(class | text) by maximum likelihood, of an encoder fresh or pretrained (1810.04805, 3.2).

    A batch is as `LabelledSet` has it. `network.apply({'params': p}, tokens, None, segments,
    types=..., train=...)` gives hidden states (B, T, D).

    Args:
      pretrained: one of `PRETRAINED`, whose weights the encoder starts from; None draws them.

    Raises:
      InputError: there are no such weights; from `init_params`, they cannot be had or are of
        another network.
    """

    def __init__(
        self,
        *,
        network: Any,
        optimizer: optax.GradientTransformation,
        tokenizer: Tokenizer,
        classes: Sequence[str],
        pretrained: str | None = None,
    ):
        if pretrained is not None and pretrained not in PRETRAINED:
            raise InputError(
                f"method.pretrained={pretrained!r} is unknown; {nearest(pretrained, PRETRAINED)}"
            )
        self.network = network
        self.optimizer = optimizer
        self.tokenizer = tokenizer
        self.classes = classes
        self.pretrained = pretrained

    def init_params(self, rng: Rng, batch: Batch) -> dict[str, Params]:
        shape = (self.network.width, len(self.classes))
        kernel = 0.02 * jax.random.normal(named(rng, "head"), shape)
        head = {"kernel": kernel, "bias": jnp.zeros(len(self.classes))}
        return {"model": {"encoder": self.init_encoder(named(rng, "encoder")), "head": head}}

    def init_encoder(self, rng: Rng) -> Params:
        if self.pretrained is None:
            return self.network.init(rng, jnp.zeros((1, 1), jnp.int32))["params"]
        return jax.tree.map(jnp.asarray, PRETRAINED[self.pretrained](weights.shapes(self.network)))

    def objectives(self) -> Sequence[Objective]:
        return [Objective("model", self.loss, self.optimizer)]

    def loss(self, params: Params, state: TrainState, batch: Batch, rng: Rng) -> tuple[Scalar, Aux]:
        """The mean cross-entropy in nats; the share of right answers is logged."""
        metrics = self.per_example(params, batch, dropout=named(rng, "dropout"))
        return jnp.mean(metrics["loss"]), Aux({"accuracy": jnp.mean(metrics["accuracy"])})

    def evaluate(self, state: TrainState, batch: Batch, rng: Rng) -> Metrics:
        """`loss` (B,) in nats and `accuracy` (B,), 0 or 1, of the averaged weights."""
        return self.per_example(averaged(state, "model"), batch)

    def trivial(self, train: Dataset, test: Dataset) -> Mapping[str, Mapping[str, float]]:
        """What is got without reading: the most frequent class, and each class by its share."""
        seen, met = train.arrays()["label"], test.arrays()["label"]
        nats = share_nats(seen, met, classes=len(self.classes))
        majority = float(np.mean(met == most_frequent(seen)))
        return {"loss": {"shares": nats}, "accuracy": {"majority": majority}}

    def sample(  # type: ignore[override]
        self, state: TrainState, rng: Rng, *, count: int, batch: Batch
    ) -> dict[str, Any]:
        """Of unseen examples `predictions` and `labels`, (count,), and `texts` that show both."""
        logits_BxK = jax.jit(self.logits)(averaged(state, "model"), batch)
        predictions, labels = np.argmax(logits_BxK, axis=-1), np.asarray(batch["label"])
        texts = [
            f"{self.tokenizer.decode(tokens)}\n{self.classes[predicted]}"
            + (", right" if predicted == label else f", but it is {self.classes[label]}")
            for tokens, predicted, label in zip(
                np.asarray(batch["tokens"]), predictions, labels, strict=True
            )
        ]
        return {"predictions": predictions, "labels": labels, "texts": np.array(texts, object)}

    def per_example(
        self, params: Params, batch: Batch, dropout: Rng | None = None
    ) -> dict[str, Float[Array, " B"]]:
        """Cross-entropy and 0 or 1 for a right answer, of each example."""
        logits = self.logits(params, batch, dropout)
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])
        accuracy = (jnp.argmax(logits, axis=-1) == batch["label"]).astype(jnp.float32)
        return {"loss": loss, "accuracy": accuracy}

    def logits(
        self, params: Params, batch: Batch, dropout: Rng | None = None
    ) -> Float[Array, "B K"]:
        """Of each class; with `dropout` as in training."""
        hidden_BxTxD = self.network.apply(
            {"params": params["encoder"]},
            *(batch["tokens"], None, batch["segments"]),
            types=batch["types"],
            train=dropout is not None,
            rngs=None if dropout is None else {"dropout": dropout},
        )
        mean_BxD = minilm.masked_mean(hidden_BxTxD, batch["segments"] > 0).astype(jnp.float32)
        return linear(mean_BxD, params["head"]["kernel"], params["head"]["bias"])
