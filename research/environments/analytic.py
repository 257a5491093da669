"""Five tiny worlds whose values are known: each asks one thing of an agent and no more.

After Andy Jones' probe environments and the tests of rejax (github.com/keraJLi/rejax). The state
of each is its observation (1,), but of Endless, whose state is its clock.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from research.environments.environment import Box, Discrete, Environment, Step, ended


class Observed(Environment):
    """One step that pays the observation, -1 or 1, whatever is done: the value is it."""

    observation_shape, action_space, max_steps = (1,), Discrete(2), 1

    def reset(self, key: Any, params: Any) -> tuple[Array, Array]:
        seen = sign(key)
        return seen, seen

    def step(self, key: Any, state: Array, action: Any, params: Any) -> Step:
        return ended(
            self, key, params, observation=state, state=state, reward=state[0], terminated=True
        )


class Delayed(Environment):
    """Two steps, 0 and 1; the second pays 1: the values are the discount and 1."""

    observation_shape, action_space, max_steps = (1,), Discrete(2), 2

    def reset(self, key: Any, params: Any) -> tuple[Array, Array]:
        return jnp.zeros(1), jnp.zeros(1)

    def step(self, key: Any, state: Array, action: Any, params: Any) -> Step:
        after, reward = state + 1, state[0]
        return ended(
            self,
            key,
            params,
            observation=after,
            state=after,
            reward=reward,
            terminated=after[0] >= 2,
        )


class Endless(Environment):
    """Every step pays 1 and nothing is seen; only time ends it: the value is 1 / (1 - discount)."""

    observation_shape, action_space, max_steps = (1,), Discrete(2), 8

    def reset(self, key: Any, params: Any) -> tuple[Array, Array]:
        return jnp.ones(1), jnp.zeros((), jnp.int32)

    def step(self, key: Any, state: Array, action: Any, params: Any) -> Step:
        return ended(
            self,
            key,
            params,
            observation=jnp.ones(1),
            state=state + 1,
            reward=jnp.ones(()),
            truncated=state + 1 >= self.max_steps,
        )


class Matched(Environment):
    """One step that pays 1 if the action, 0 or 1, tells -1 from 1, else -1: the best value is 1."""

    observation_shape, action_space, max_steps = (1,), Discrete(2), 1

    def reset(self, key: Any, params: Any) -> tuple[Array, Array]:
        seen = sign(key)
        return seen, seen

    def step(self, key: Any, state: Array, action: Any, params: Any) -> Step:
        reward = jnp.where((action == 1) == (state[0] > 0), 1.0, -1.0)
        return ended(
            self, key, params, observation=state, state=state, reward=reward, terminated=True
        )


class Aimed(Environment):
    """One step that pays 1 - (a - o / 2)^2 for a number a in [-1, 1] at o = -1 or 1: at best 1."""

    observation_shape, action_space, max_steps = (1,), Box(-1.0, 1.0, 1), 1

    def reset(self, key: Any, params: Any) -> tuple[Array, Array]:
        seen = sign(key)
        return seen, seen

    def step(self, key: Any, state: Array, action: Any, params: Any) -> Step:
        reward = 1 - jnp.square(action[0] - state[0] / 2)
        return ended(
            self, key, params, observation=state, state=state, reward=reward, terminated=True
        )


def sign(key: Any) -> Float[Array, "1"]:
    """-1 or 1."""
    return jax.random.rademacher(key, (1,), jnp.float32)
