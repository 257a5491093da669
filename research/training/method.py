"""The seam: a Method says what is learned, an Objective is one loss on one group of parameters."""

import abc
import dataclasses
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jaxtyping import Array, Float

from research.data.examples import Dataset
from research.training.rng import named
from research.training.state import TrainState
from research.training.types import Batch, Metrics, Params, Rng, Scalar


@struct.dataclass
class Aux:
    """What a loss returns beside its value: scalars to log and entries of `state.extra` to set."""

    metrics: Metrics = struct.field(default_factory=dict)
    extra: dict[str, Any] = struct.field(default_factory=dict)


Loss = Callable[[Params, TrainState, Batch, Rng], tuple[Scalar, Aux]]


@dataclasses.dataclass(frozen=True)
class Objective:
    """One player: `loss(own_params, state, batch, rng)` is minimised over `state.params[group]`.

    `repeats` plays it several times a step on the same batch, as a critic is.
    """

    group: str
    loss: Loss
    optimizer: optax.GradientTransformation
    repeats: int = 1


class Method(abc.ABC):
    """What is learned. The loop knows this interface and no family of methods.

    `fields` are those of a batch that a step needs, where `init_params` doesn't refuse others.
    `alarms` are values by metric; a run warns where a metric falls below its own. `num_classes` are
    those that samples may be asked of, by `labels`.
    """

    fields: Sequence[str] = ()
    alarms: Mapping[str, float] = types.MappingProxyType({})
    num_classes = 0

    @abc.abstractmethod
    def init_params(self, rng: Rng, batch: Batch) -> dict[str, Params]:
        """Fresh parameters by group; `batch` gives shapes only."""

    @abc.abstractmethod
    def objectives(self) -> Sequence[Objective]:
        """The players in their order."""

    @abc.abstractmethod
    def evaluate(self, state: TrainState, batch: Batch, rng: Rng) -> Metrics:
        """Per-example metrics, each of shape (B,).

        A `weight` among them is what each example counts in the means of the others.
        """

    @abc.abstractmethod
    def sample(self, state: TrainState, rng: Rng, *, count: int) -> dict[str, Any]:
        """Named artefacts; the last word of a name is its kind in `pictures`, as `images` is.

        A method's further keyword arguments are the options of `launch.sample`, but `batch`: a
        method that takes it is given `count` examples it has not seen.
        """

    def trivial(self, train: Dataset, test: Dataset) -> Mapping[str, Mapping[str, float]]:
        """What trivial models get of metrics of `evaluate` on the test set, by metric and model."""
        return {}

    def init_extra(self, rng: Rng) -> dict[str, Any]:
        """The first `state.extra`."""
        return {}

    def init(self, rng: Rng, batch: Batch) -> TrainState:
        """The state before the first step."""
        params = self.init_params(named(rng, "params"), batch)
        opt_state = {o.group: o.optimizer.init(params[o.group]) for o in self.objectives()}
        extra = self.init_extra(named(rng, "extra"))
        return TrainState(jnp.zeros((), jnp.int32), params, opt_state, extra)

    def step(self, state: TrainState, batch: Batch, rng: Rng) -> tuple[TrainState, Metrics]:
        """Plays every objective in turn; metrics are named `group/metric`."""
        logged: Metrics = {}
        for objective in self.objectives():
            state, metrics = play(objective, state, batch, named(rng, objective.group))
            logged |= {f"{objective.group}/{name}": value for name, value in metrics.items()}
        return dataclasses.replace(state, step=state.step + 1), logged


class LatentVariable(Method):
    """A method that takes images to a latent space and back."""

    @abc.abstractmethod
    def encode(self, state: TrainState, images: Float[Array, "B H W C"]) -> Float[Array, "B L"]:
        """The latent means of images in [-1, 1]."""

    @abc.abstractmethod
    def decode(self, state: TrainState, z: Float[Array, "B L"]) -> Float[Array, "B H W C"]:
        """The mean images in [-1, 1] of latents."""


class TextWriter(Method):
    """A method that writes text."""

    def stream(self, state: TrainState, rng: Rng, **options: Any) -> Iterator[str]:
        """The first of `sample`'s texts in pieces, as it is written; with `sample`'s options.

        By default it comes whole.
        """
        yield str(self.sample(state, rng, count=1, **options)["texts"][0])


class TextRanker(Method):
    """A method that says how likely a text is after another."""

    @abc.abstractmethod
    def log_likelihoods(
        self, state: TrainState, pairs: Sequence[tuple[str, str]]
    ) -> Float[np.ndarray, " N"]:
        """ln p(text | prompt) of each (prompt, text); an empty prompt is a document's start."""

    @abc.abstractmethod
    def sees_all(self, prompt: str, text: str) -> bool:
        """Whether the context holds both: of a longer prompt the end alone is seen."""


def play(
    objective: Objective, state: TrainState, batch: Batch, rng: Rng
) -> tuple[TrainState, Metrics]:
    """Moves one group by its optimizer, `repeats` times; the last repeat's metrics are returned."""

    def once(state: TrainState, rng: Rng) -> tuple[TrainState, Metrics]:
        return _moved(objective, state, state, batch, rng)

    if objective.repeats == 1:
        return once(state, rng)
    state, metrics = jax.lax.scan(once, state, jax.random.split(rng, objective.repeats))
    return state, jax.tree.map(lambda value: value[-1], metrics)


def play_together(
    objectives: Sequence[Objective], state: TrainState, batch: Batch, rng: Rng
) -> tuple[TrainState, Metrics]:
    """Moves every group once, each by its gradient at `state`; metrics are named `group/metric`."""
    moved = state
    logged: Metrics = {}
    for objective in objectives:
        moved, metrics = _moved(objective, state, moved, batch, named(rng, objective.group))
        logged |= {f"{objective.group}/{name}": value for name, value in metrics.items()}
    return moved, logged


def _moved(
    objective: Objective, at: TrainState, state: TrainState, batch: Batch, rng: Rng
) -> tuple[TrainState, Metrics]:
    """`state` with the objective's group moved by its gradient at the state `at`."""
    group = objective.group
    gradient_of = jax.value_and_grad(objective.loss, has_aux=True)
    (loss, aux), gradient = gradient_of(at.params[group], at, batch, rng)
    # The norm and every last use of the parameters come before the first update: so XLA moves them
    # where they lie, without a copy.
    gradient, norm = jax.lax.optimization_barrier((gradient, optax.tree.norm(gradient)))
    updates, opt_state = objective.optimizer.update(gradient, at.opt_state[group], at.params[group])
    state = dataclasses.replace(
        state,
        params=state.params | {group: optax.apply_updates(at.params[group], updates)},
        opt_state=state.opt_state | {group: opt_state},
        extra=state.extra | aux.extra,
    )
    return state, aux.metrics | {"loss": loss, "grad_norm": norm}
