"""gymnax's worlds (github.com/RobertTLange/gymnax) behind our interface, which is its own."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from research.environments.environment import Box, Discrete, Environment, Space, Step
from research.errors import InputError, nearest


class Gymnax(Environment):
    """The world that gymnax registers as `id`, as `CartPole-v1`, with its default parameters.

    Raises:
      InputError: gymnax is not installed, has no such world or can't make it, or its actions are
        not one space.
    """

    def __init__(self, *, id: str):
        try:
            import gymnax
        except ImportError as error:
            raise InputError(
                f"world {id!r} needs gymnax, which the extra `rl` brings: pip install -e '.[rl]'"
            ) from error
        if id not in gymnax.registered_envs:
            raise InputError(f"gymnax has no world {id!r}; {nearest(id, gymnax.registered_envs)}")
        try:
            self._world, self._params = gymnax.make(id)
        except OSError as error:  # some bring data of their own
            raise InputError(f"world {id!r} can't be made here: {error}") from error
        self.observation_shape = tuple(self._world.observation_space(self._params).shape)
        self.action_space = _space(self._world.action_space(self._params), id)
        self.max_steps = int(self._params.max_steps_in_episode)

    def reset(self, key: Any, params: Any) -> tuple[Array, Any]:
        observation, state = self._world.reset(key, self._params)
        return jnp.float32(observation), _typed(state)

    def step(self, key: Any, state: Any, action: Any, params: Any) -> Step:
        observation, state, reward, terminated, truncated, info = self._world.step(
            key, state, action, self._params
        )
        final = {"final_observation": jnp.float32(info["final_observation"])}
        reward = jnp.float32(reward).reshape(())
        return Step(jnp.float32(observation), _typed(state), reward, terminated, truncated, final)


def _space(space: Any, id: str) -> Space:
    from gymnax.environments import spaces

    if isinstance(space, spaces.Discrete):
        return Discrete(int(space.n))
    low, high = np.unique(space.low), np.unique(space.high)
    if len(low) != 1 or len(high) != 1 or len(space.shape) > 1:
        raise InputError(f"the actions of {id} are {space}; one vector between two bounds is known")
    return Box(float(low[0]), float(high[0]), math.prod(space.shape))


def _typed(state: Any) -> Any:
    """The state with no Python number in it, so that its types are the same after every step."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(leaf)), state)
