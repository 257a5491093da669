"""The interface of a world, gymnax's: pure functions of one environment, mapped over many."""

import abc
import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from research.errors import InputError

State = Any  # a pytree of one environment's arrays
WorldParams = Any  # what an episode is made with: a pytree, () where every episode is alike
Action = Int[Array, "*B"] | Float[Array, "*B A"]


@dataclasses.dataclass(frozen=True)
class Discrete:
    """The actions 0..count - 1."""

    count: int

    def sample(self, key: Key[Array, ""], shape: tuple[int, ...] = ()) -> Int[Array, "*shape"]:
        """Uniform actions."""
        return jax.random.randint(key, shape, 0, self.count)

    def bounded(self, actions: Int[Array, "*B"]) -> Int[Array, "*B"]:
        """The actions themselves: a draw of the policy is one of them."""
        return actions

    def contains(self, actions: Array) -> Bool[Array, "*B"]:
        return (actions >= 0) & (actions < self.count)


@dataclasses.dataclass(frozen=True)
class Box:
    """Actions of `size` numbers, each between `low` and `high`."""

    low: float
    high: float
    size: int

    def sample(self, key: Key[Array, ""], shape: tuple[int, ...] = ()) -> Float[Array, "*shape A"]:
        """Uniform actions."""
        return jax.random.uniform(key, (*shape, self.size), minval=self.low, maxval=self.high)

    def bounded(self, actions: Float[Array, "*B A"]) -> Float[Array, "*B A"]:
        """The nearest actions of the box."""
        return jnp.clip(actions, self.low, self.high)

    def contains(self, actions: Array) -> Bool[Array, "*B"]:
        return jnp.all((actions >= self.low) & (actions <= self.high), axis=-1)


Space = Discrete | Box


class Step(NamedTuple):
    """What a step returns, in gymnax's order.

    An episode that has ended, `terminated` by its world or `truncated` by the limit of time, has
    begun anew in `observation` and `state`; `info["final_observation"]` is what came before that.
    """

    observation: Array
    state: State
    reward: Float[Array, ""]
    terminated: Bool[Array, ""]
    truncated: Bool[Array, ""]
    info: dict[str, Any]


class Environment(abc.ABC):
    """A world. `max_steps` is the length of its longest episode."""

    observation_shape: tuple[int, ...]
    action_space: Space
    max_steps: int

    @abc.abstractmethod
    def reset(self, key: Key[Array, ""], params: WorldParams) -> tuple[Array, State]:
        """The first observation, float32 of `observation_shape`, and the state of an episode."""

    @abc.abstractmethod
    def step(self, key: Key[Array, ""], state: State, action: Action, params: WorldParams) -> Step:
        """Plays an action; `params` make the next episode where this one ends."""

    def params(self, row: Any) -> WorldParams:
        """What an episode is made with, of one row of a batch."""
        return ()

    def baselines(self, key: Key[Array, ""], params: WorldParams) -> dict[str, Float[Array, ""]]:
        """Returns of an episode by other means than a learned policy, by name."""
        return {}

    def render(self, observation: Array) -> Float[Array, "H W C"]:
        """The picture of an observation in [-1, 1]. Raises InputError where there is none."""
        raise InputError(f"environment {type(self).__name__} draws no pictures; canvas does")

    def traits(self) -> dict[str, Any]:
        """What a network for this world needs to know."""
        space = self.action_space
        if isinstance(space, Discrete):
            return {"actions": space.count, "continuous": False}
        return {"actions": space.size, "continuous": True}


def ended(
    environment: Environment,
    key: Key[Array, ""],
    params: WorldParams,
    *,
    observation: Array,
    state: State,
    reward: Array,
    terminated: Array | bool = False,
    truncated: Array | bool = False,
) -> Step:
    """The step that leads to `state`, with a new episode in place of one that has ended."""
    done = jnp.logical_or(terminated, truncated)
    fresh = environment.reset(key, params)
    shown, kept = jax.tree.map(
        lambda new, old: jnp.where(done, new, old), fresh, (observation, state)
    )
    flags = jnp.asarray(terminated), jnp.asarray(truncated)
    return Step(shown, kept, jnp.float32(reward), *flags, {"final_observation": observation})


def step_all(
    environment: Environment, keys: Key[Array, " B"], states: State, actions: Array, params: Any
) -> Step:
    """A step of B environments, each with its key, its action and its params.

    Raises:
      InputError: under `jax.disable_jit()`, JAX's debug mode, an action is outside the space.
    """
    if jax.config.jax_disable_jit:
        check_actions(environment.action_space, actions)
    return jax.vmap(environment.step)(keys, states, actions, params)


def check_actions(space: Space, actions: Array) -> None:
    """Raises InputError unless every action is in the space."""
    good = np.asarray(space.contains(actions))
    if not good.all():
        first = int(np.argmin(good))
        raise InputError(
            f"action {np.asarray(actions)[first]} of environment {first} is outside {space}"
        )
