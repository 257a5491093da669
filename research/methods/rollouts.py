"""Rollouts: many environments played side by side, by whatever acts."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from research.environments.environment import Environment, step_all
from research.training.rng import named
from research.training.types import Rng

Act = Callable[[Array, Rng], Array]  # observations (B, ...) -> actions


@struct.dataclass
class Episodes:
    """The episodes under way in B environments: arrays, or what JAX maps over a state.

    `params` make the next ones; `returns` (B,) are the rewards so far and `last_returns` (B,) those
    of the last finished episode of each environment, 0 before the first.
    """

    observations: Any
    states: Any
    params: Any
    returns: Any
    last_returns: Any


def begin(environment: Environment, params: Any, rng: Rng, *, count: int) -> Episodes:
    """An episode begun in each of `count` environments."""
    keys, zeros = jax.random.split(rng, count), jnp.zeros(count)
    observations, states = jax.vmap(environment.reset)(keys, params)
    return Episodes(observations, states, params, zeros, zeros)


def rollout(
    environment: Environment,
    respond: Callable[[Array, Array], tuple[Array, Any]],
    episodes: Episodes,
    rng: Rng,
    *,
    noise: Float[Array, "T B A"],
) -> tuple[Episodes, dict[str, Array]]:
    """The episodes T steps later, and what was seen, done and paid: arrays (T, B, ...).

    `respond(observations, noise of the step)` gives actions and the outputs they were drawn from.
    `next_observation` is what an action led to, before any reset.
    """

    def play_once(episodes: Episodes, at: tuple[Array, Array]) -> tuple[Episodes, dict]:
        noise_BxA, keys = at
        actions, outputs = respond(episodes.observations, noise_BxA)
        bounded = environment.action_space.bounded(actions)
        step = step_all(environment, keys, episodes.states, bounded, episodes.params)
        done, returns = step.terminated | step.truncated, episodes.returns + step.reward
        after = Episodes(
            step.observation,
            step.state,
            episodes.params,
            jnp.where(done, 0.0, returns),
            jnp.where(done, returns, episodes.last_returns),
        )
        return after, {
            "observation": episodes.observations,
            "outputs": outputs,
            "action": actions,
            "reward": step.reward,
            "terminated": step.terminated,
            "truncated": step.truncated,
            "next_observation": step.info["final_observation"],
        }

    return jax.lax.scan(play_once, episodes, (noise, jax.random.split(rng, noise.shape[:2])))


def whole_episodes(
    environment: Environment, act: Act, params: Any, rng: Rng, *, count: int
) -> dict[str, Float[Array, " B"]]:
    """`return` and `length` of one episode in each of `count` environments."""

    def play_once(carry: tuple) -> tuple:
        time, observations, states, alive, total, length = carry
        key = jax.random.fold_in(rng, time)
        actions = environment.action_space.bounded(act(observations, named(key, "action")))
        keys = jax.random.split(named(key, "world"), count)
        step = step_all(environment, keys, states, actions, params)
        total, length = total + alive * step.reward, length + alive
        alive = alive & ~(step.terminated | step.truncated)
        return time + 1, step.observation, step.state, alive, total, length

    begun = begin(environment, params, named(rng, "start"), count=count)
    alive, zeros = jnp.ones(count, bool), begun.returns
    start = (jnp.int32(0), begun.observations, begun.states, alive, zeros, zeros)
    *_, total, length = jax.lax.while_loop(lambda carry: jnp.any(carry[3]), play_once, start)
    return {"return": total, "length": length}


def film(
    environment: Environment, act: Act, params: Any, rng: Rng, *, count: int
) -> Float[Array, "B T H W C"]:
    """What `max_steps` steps in each of `count` environments look like after each step."""

    def play_once(carry: tuple, key: Rng) -> tuple[tuple, Array]:
        observations, states = carry
        actions = environment.action_space.bounded(act(observations, named(key, "action")))
        keys = jax.random.split(named(key, "world"), count)
        step = step_all(environment, keys, states, actions, params)
        picture = jax.vmap(environment.render)(step.info["final_observation"])
        return (step.observation, step.state), picture

    begun = begin(environment, params, named(rng, "start"), count=count)
    start = (begun.observations, begun.states)
    keys = jax.random.split(named(rng, "steps"), environment.max_steps)
    _, frames_TxBxHxWxC = jax.lax.scan(play_once, start, keys)
    return jnp.swapaxes(frames_TxBxHxWxC, 0, 1)
