"""What the loop executes: the first state, and one step or more, compiled over the mesh."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from research.errors import check_least
from research.training.method import Method
from research.training.rng import named
from research.training.sharding import (
    Rules,
    batch_sharding,
    put_batch,
    sharing,
    state_shardings,
)
from research.training.state import TrainState
from research.training.types import Batch, Metrics, Places, Rng

Execute = Callable[[TrainState, Sequence[Batch | Places], Rng], tuple[TrainState, Metrics]]


def execution(
    method: Method,
    mesh: Mesh,
    layout: TrainState,
    *,
    steps_per_execution: int = 1,
    examples: Batch | None = None,
) -> Execute:
    """`(state, host batches, rng of the run) -> (state, metrics)`, a step a batch.

    It takes `steps_per_execution` batches or fewer; metrics are arrays of so many, of which the
    first are those of the batches, or the scalars of a single host batch. One compilation serves
    all, so bits don't depend on how steps are cut into executions.

    Args:
      examples: a whole data set, to be kept on every device. The host batches are then places in
        it, integers (b,), and what they name is gathered on the devices.

    Raises:
      InputError: `steps_per_execution` is less than 1.
    """
    check_least(1, steps_per_execution=steps_per_execution)
    if steps_per_execution == 1 and examples is None:
        step, sharding = compiled_step(method, mesh, layout), batch_sharding(mesh)
        return lambda state, batches, rng: step(state, put_batch(batches[0], sharding), rng)
    steps, stacked = compiled_steps(method, mesh, layout), batch_sharding(mesh, stacked=True)
    kept = put_batch(examples, NamedSharding(mesh, PartitionSpec()))

    def stack(*arrays: np.ndarray) -> np.ndarray:
        filled = np.zeros((steps_per_execution, *arrays[0].shape), arrays[0].dtype)
        np.stack(arrays, out=filled[: len(arrays)])
        return filled

    def execute(
        state: TrainState, batches: Sequence[Batch | Places], rng: Rng
    ) -> tuple[TrainState, Any]:
        together = put_batch(jax.tree.map(stack, *batches), stacked)
        return steps(state, together, rng, np.int32(len(batches)), kept)

    return execute


def state_layout(method: Method, *, example: Batch, mesh: Mesh, rules: Rules) -> TrainState:
    """The state's shapes, dtypes and shardings, with nothing computed."""
    state = jax.eval_shape(method.init, jax.random.key(0), example)
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        state,
        state_shardings(state, mesh, rules),
    )


def initial_state(method: Method, rng: Rng, *, example: Batch, layout: TrainState) -> TrainState:
    """The state before the first step, laid out as `layout`."""
    mesh = jax.tree.leaves(layout)[0].sharding.mesh

    def start(rng: Rng, example: Batch) -> TrainState:
        with sharing(mesh):
            return method.init(rng, example)

    # It runs once: compiling it well would take longer than running it badly.
    init = jax.jit(
        start,
        out_shardings=shardings_of(layout),
        compiler_options={"xla_backend_optimization_level": 0},
    )
    return init(named(rng, "init"), example)


def compiled_step(method: Method, mesh: Mesh, layout: TrainState) -> jax.stages.Wrapped:
    """`(state, batch, rng of the run) -> (state, metrics)`, jitted over the mesh.

    It takes over the state's memory, and folds the step into the random key.
    """
    replicated = NamedSharding(mesh, PartitionSpec())

    def step(state: TrainState, batch: Batch, rng: Rng) -> tuple[TrainState, Metrics]:
        with sharing(mesh):
            return method.step(state, batch, jax.random.fold_in(rng, state.step))

    return jax.jit(
        step,
        in_shardings=(shardings_of(layout), batch_sharding(mesh), replicated),
        out_shardings=(shardings_of(layout), replicated),
        donate_argnums=0,
    )


def compiled_steps(
    method: Method, mesh: Mesh, layout: TrainState
) -> Callable[[TrainState, Batch, Rng, Any, Batch | None], tuple[TrainState, Metrics]]:
    """`compiled_step` over the first `count` of stacked batches (N, B, ...); metrics are (N,).

    With the last argument, `examples`, batches are stacked places in it, (N, B).
    """
    replicated = NamedSharding(mesh, PartitionSpec())

    def steps(
        state: TrainState, batches: Any, rng: Rng, count: Any, examples: Batch | None
    ) -> tuple[TrainState, Metrics]:
        def batch_of(index: jax.Array | int) -> Batch:
            now = jax.tree.map(lambda stacked: stacked[index], batches)
            if examples is None:
                return now
            gathered = {name: rows(field, now) for name, field in examples.items()}
            return jax.lax.with_sharding_constraint(gathered, batch_sharding(mesh))

        def step(
            index: jax.Array, so_far: tuple[TrainState, Metrics]
        ) -> tuple[TrainState, Metrics]:
            state, logged = so_far
            state, metrics = method.step(
                state, batch_of(index), jax.random.fold_in(rng, state.step)
            )
            put = jax.tree.map(lambda all_, now: all_.at[index].set(now), logged, metrics)
            return state, put

        most = len(jax.tree.leaves(batches)[0])
        with sharing(mesh):
            _, shapes = jax.eval_shape(method.step, state, batch_of(0), rng)
            empty = jax.tree.map(lambda leaf: jnp.zeros((most, *leaf.shape), leaf.dtype), shapes)
            return jax.lax.fori_loop(0, count, step, (state, empty))

    return jax.jit(
        steps,
        in_shardings=(
            shardings_of(layout),
            batch_sharding(mesh, stacked=True),
            replicated,
            replicated,
            replicated,
        ),
        out_shardings=(shardings_of(layout), replicated),
        donate_argnums=0,
    )


def rows(field: jax.Array, places: jax.Array) -> jax.Array:
    """`field[places]`. XLA's CPU copies flat rows six times as fast as whole images."""
    flat = field.reshape(len(field), -1)
    return flat[places].reshape(*places.shape, *field.shape[1:])


def shardings_of(layout: TrainState) -> TrainState:
    return jax.tree.map(lambda leaf: leaf.sharding, layout)
