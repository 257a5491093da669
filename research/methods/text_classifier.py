"""A classifier of texts: an encoder's mean hidden state and a linear layer, fine-tuned together."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from kernels.linear import linear
from research.data.examples import Dataset
from research.data.tokenizers import Tokenizer
from research.evaluation.classification import trivial_classifiers
from research.methods.fine_tuning import FineTunedEncoder
from research.pretrained.minilm import masked_mean
from research.training.optimizers import averaged
from research.training.state import TrainState
from research.training.types import Batch, Params, Rng


class TextClassifier(FineTunedEncoder):
    """p(class | text) by maximum likelihood, of an encoder fresh or pretrained (1810.04805, 3.2).

    A batch is as `LabelledSet` has it; the arguments are `FineTunedEncoder`'s, and the `classes`.
    """

    fields = ("tokens", "segments", "types", "label")

    def __init__(
        self,
        *,
        network: Any,
        optimizer: optax.GradientTransformation,
        tokenizer: Tokenizer,
        classes: Sequence[str],
        pretrained: str | None = None,
    ):
        super().__init__(
            network=network, optimizer=optimizer, tokenizer=tokenizer, pretrained=pretrained
        )
        self.classes = classes
        self._logits = jax.jit(self.logits)

    def init_head(self, rng: Rng) -> Params:
        count = len(self.classes)
        kernel = 0.02 * jax.random.normal(rng, (self.network.width, count))
        return {"kernel": kernel, "bias": jnp.zeros(count)}

    def trivial(self, train: Dataset, test: Dataset) -> Mapping[str, Mapping[str, float]]:
        """What is got without reading: the most frequent class, and each class by its share."""
        seen, met = train.arrays()["label"], test.arrays()["label"]
        return trivial_classifiers(seen, met, classes=len(self.classes))

    def sample(  # type: ignore[override]  # only after examples
        self, state: TrainState, rng: Rng, *, count: int, batch: Batch
    ) -> dict[str, Any]:
        """Of unseen examples `predictions` and `labels`, (count,), and `texts` that show both."""
        logits_BxK = self._logits(averaged(state, "model"), batch)
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
        """`loss` (B,) in nats and `accuracy` (B,), 0 or 1."""
        logits = self.logits(params, batch, dropout)
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])
        accuracy = (jnp.argmax(logits, axis=-1) == batch["label"]).astype(jnp.float32)
        return {"loss": loss, "accuracy": accuracy}

    def logits(
        self, params: Params, batch: Batch, dropout: Rng | None = None
    ) -> Float[Array, "B K"]:
        """Of each class; with `dropout` as in training."""
        hidden_BxTxD = self.hidden(params, batch, dropout)
        mean_BxD = masked_mean(hidden_BxTxD, batch["segments"] > 0).astype(jnp.float32)
        return linear(mean_BxD, params["head"]["kernel"], params["head"]["bias"])
