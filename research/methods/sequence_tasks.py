"""Supervised learning on sequences: a number of the whole sequence, or a class at every step."""

import abc
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from research.data.examples import Dataset
from research.errors import InputError
from research.evaluation.classification import trivial_classifiers
from research.networks.initial import initial
from research.training.method import Aux, Method, Objective
from research.training.optimizers import averaged
from research.training.rng import named
from research.training.state import TrainState
from research.training.types import Batch, Metrics, Params, Rng, Scalar


class SequenceTaskMethod(Method):
    """Outputs of `inputs` by maximum likelihood of what the leaf says.

    `inputs` are vectors, float32 (B, T, C), for a sequence network with `outputs` (`Recurrent`,
    `TCN`), or tokens, int32 (B, T), for one with a `vocabulary`. A leaf learns the field
    `target` of numbers of its `kind`: one an example, or one a step where it is "targets".
    """

    target: str
    kind: type[np.number]

    def __init__(self, *, network: Any, optimizer: optax.GradientTransformation):
        self.network = network
        self.optimizer = optimizer

    @abc.abstractmethod
    def per_example(self, params: Params, batch: Batch, rng: Rng | None) -> Metrics:
        """`loss` and others of each example; with `rng` as in training, with dropout."""

    def init_params(self, rng: Rng, batch: Batch) -> dict[str, Params]:
        """Fresh parameters; raises InputError unless the batch has what the leaf learns."""
        self.check_fields(batch)
        return {"model": initial(self.network, rng, jnp.zeros_like(batch["inputs"][:1]))}

    def check_fields(self, batch: Batch) -> None:
        """Raises InputError unless the batch has `inputs` and, of its kind and shape, `target`."""
        steps = 1 if self.target == "targets" else 0
        found = batch.get(self.target)
        if (
            "inputs" not in batch
            or found is None
            or not jnp.issubdtype(found.dtype, self.kind)
            or found.shape != batch["inputs"].shape[: 1 + steps]
        ):
            what = "a class" if self.kind is np.integer else "a number"
            fields = (f"{name}, {x.dtype.name} {x.shape[1:]}" for name, x in batch.items())
            raise InputError(
                f"{type(self).__name__} learns from inputs {what} of "
                f"{'every step' if steps else 'the whole'}, {self.target}; "
                f"the data has {'; '.join(fields)}"
            )

    def objectives(self) -> Sequence[Objective]:
        return [Objective("model", self.loss, self.optimizer)]

    def loss(self, params: Params, state: TrainState, batch: Batch, rng: Rng) -> tuple[Scalar, Aux]:
        means = jax.tree.map(jnp.mean, self.per_example(params, batch, named(rng, "dropout")))
        loss = means.pop("loss")
        return loss, Aux(means)

    def evaluate(self, state: TrainState, batch: Batch, rng: Rng) -> Metrics:
        """The metrics of each example (B,) by the averaged weights."""
        return self.per_example(averaged(state, "model"), batch, None)

    def sample(self, state: TrainState, rng: Rng, *, count: int) -> dict[str, Any]:
        """Raises InputError: there is no distribution of inputs."""
        raise InputError("a sequence task's method draws no samples: it models targets, not inputs")

    def apply(self, params: Params, *inputs: Array, rng: Rng | None = None, method: str) -> Array:
        rngs = {} if rng is None else {"dropout": rng}
        options = {} if method == "logits" else {"train": rng is not None}
        return self.network.apply({"params": params}, *inputs, rngs=rngs, method=method, **options)


class SequenceRegression(SequenceTaskMethod):
    """The number `target`, float32 (B,), from the network's last step, by squared error."""

    target, kind = "target", np.floating

    def per_example(self, params: Params, batch: Batch, rng: Rng | None) -> Metrics:
        """`loss` (B,), the squared error."""
        hidden = self.apply(params, batch["inputs"], rng=rng, method="last")
        predicted: Float[Array, " B"] = self.apply(params, hidden, method="logits")[:, 0]
        return {"loss": (predicted - batch["target"]) ** 2}


class StepRegression(SequenceTaskMethod):
    """The number `targets`, float32 (B, T), of every step, by squared error."""

    target, kind = "targets", np.floating

    def per_example(self, params: Params, batch: Batch, rng: Rng | None) -> Metrics:
        """`loss` (B,), the mean over steps of the squared error."""
        return {"loss": jnp.mean(self.per_step(params, batch, rng), axis=1)}

    def per_step(self, params: Params, batch: Batch, rng: Rng | None = None) -> Float[Array, "B T"]:
        """The squared error of each step."""
        hidden = self.apply(params, batch["inputs"], rng=rng, method="__call__")
        predicted = self.apply(params, hidden, method="logits")[..., 0]
        return (predicted - batch["targets"]) ** 2


class AnswerClassification(SequenceTaskMethod):
    """The class `target`, int32 (B,), from the network's last step, by cross-entropy."""

    target, kind = "target", np.integer

    def per_example(self, params: Params, batch: Batch, rng: Rng | None) -> Metrics:
        """`loss` (B,) in nats and `accuracy` (B,), 0 or 1."""
        hidden = self.apply(params, batch["inputs"], rng=rng, method="last")
        logits = self.apply(params, hidden, method="logits")
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch["target"])
        right = jnp.argmax(logits, axis=-1) == batch["target"]
        return {"loss": loss, "accuracy": right.astype(jnp.float32)}

    def trivial(self, train: Dataset, test: Dataset) -> Mapping[str, Mapping[str, float]]:
        """What is got without reading: the most frequent class, and each class by its share."""
        seen, met = train.arrays()["target"], test.arrays()["target"]
        classes = 1 + int(max(seen.max(), met.max()))
        return trivial_classifiers(seen, met, classes=classes)


class StepClassification(SequenceTaskMethod):
    """The class `targets`, int32 (B, T), of every step, by cross-entropy."""

    target, kind = "targets", np.integer

    def per_example(self, params: Params, batch: Batch, rng: Rng | None) -> Metrics:
        """`loss` (B,), nats a step, and `accuracy` (B,), the share of steps that are right."""
        hidden = self.apply(params, batch["inputs"], rng=rng, method="__call__")
        logits = self.apply(params, hidden, method="logits")
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch["targets"])
        right = jnp.argmax(logits, axis=-1) == batch["targets"]
        return {"loss": loss.mean(axis=1), "accuracy": right.mean(axis=1)}
