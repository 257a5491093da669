"""An experiment's compiled step with a state and one batch to run it on, and nothing around it."""

from typing import Any, NamedTuple

import jax

from research.experiment import Experiment
from research.training.execution import compiled_step, initial_state
from research.training.sharding import batch_sharding, check_batch, put_batch
from research.training.state import TrainState
from research.training.types import Rng


class BareStep(NamedTuple):
    """`step(state, batch, rng)` gives the next state and metrics, and takes over the state."""

    step: jax.stages.Wrapped
    state: TrainState
    batch: Any
    rng: Rng


def bare_step(experiment: Experiment) -> BareStep:
    """Raises InputError where the devices don't divide the batch."""
    check_batch(experiment.batch_size, experiment.mesh.shape)
    rng = jax.random.key(experiment.seed)
    layout = experiment.layout()
    return BareStep(
        compiled_step(experiment.method, experiment.mesh, layout),
        initial_state(experiment.method, rng, example=experiment.example(), layout=layout),
        put_batch(next(experiment.iterator()), batch_sharding(experiment.mesh)),
        rng,
    )
