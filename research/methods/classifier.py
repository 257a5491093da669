"""A classifier of images: cross-entropy on labels; its features are what distances compare."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from research.data import pipelines
from research.data.examples import Dataset
from research.data.scaling import scaled
from research.errors import InputError
from research.evaluation.classification import trivial_classifiers
from research.training.method import Aux, Method, Objective
from research.training.optimizers import averaged
from research.training.state import TrainState
from research.training.types import Batch, Metrics, Params, Rng, Scalar


class Classifier(Method):
    """p(label | image) by maximum likelihood.

    A batch is `image`, integers 0..levels - 1 of shape (B, H, W, C), and `label`, integers (B,).
    `network.apply({'params': p}, images in [-1, 1])` gives logits (B, K) and features (B, D).
    Raises InputError without classes, and for a network with logits of another number.
    """

    def __init__(
        self,
        *,
        network: Any,
        optimizer: optax.GradientTransformation,
        image_shape: tuple[int, int, int],
        levels: int,
        num_classes: int,
    ):
        if not num_classes:
            raise InputError("method 'classifier' learns labels, and the data has none")
        self.network = network
        self.optimizer = optimizer
        self.image_shape = tuple(image_shape)
        self.levels = levels
        self.num_classes = num_classes

    def init_params(self, rng: Rng, batch: Batch) -> dict[str, Params]:
        images = jnp.zeros((1, *self.image_shape))
        variables = self.network.init(rng, images)
        logits, _ = jax.eval_shape(self.network.apply, variables, images)
        if logits.shape[-1] != self.num_classes:
            counts = f"{logits.shape[-1]} logits for the data's {self.num_classes} classes"
            raise InputError(f"the network has {counts}: leave num_classes to the data")
        return {"model": variables["params"]}

    def objectives(self) -> Sequence[Objective]:
        return [Objective("model", self.loss, self.optimizer)]

    def loss(self, params: Params, state: TrainState, batch: Batch, rng: Rng) -> tuple[Scalar, Aux]:
        """The mean cross-entropy in nats; the share of right answers is logged."""
        metrics = self.per_example(params, batch)
        return jnp.mean(metrics["loss"]), Aux({"accuracy": jnp.mean(metrics["accuracy"])})

    def evaluate(self, state: TrainState, batch: Batch, rng: Rng) -> Metrics:
        """`loss` (B,) in nats and `accuracy` (B,), 0 or 1, of the averaged weights."""
        return self.per_example(averaged(state, "model"), batch)

    def trivial(self, train: Dataset, test: Dataset) -> Mapping[str, Mapping[str, float]]:
        """What is got without looking: the most frequent class, and each class by its share."""
        seen, met = (
            np.concatenate([part["label"] for part in pipelines.whole(data)])
            for data in (train, test)
        )
        return trivial_classifiers(seen, met, classes=self.num_classes)

    def sample(self, state: TrainState, rng: Rng, *, count: int) -> dict[str, Any]:
        """Raises InputError: a classifier has no distribution of images."""
        raise InputError("method 'classifier' draws no samples: it models labels, not images")

    def per_example(self, params: Params, batch: Batch) -> dict[str, Float[Array, " B"]]:
        """Cross-entropy and 0 or 1 for a right answer, of each example."""
        images = scaled(batch["image"], self.levels)
        logits, _ = self.network.apply({"params": params}, images)
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])
        accuracy = (jnp.argmax(logits, axis=-1) == batch["label"]).astype(jnp.float32)
        return {"loss": loss, "accuracy": accuracy}
