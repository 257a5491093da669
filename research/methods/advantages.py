"""Advantages: what an action was worth beyond its state, from rewards and a value function."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def generalized_advantages(
    rewards: Float[Array, "T B"],
    values: Float[Array, "T B"],
    next_values: Float[Array, "T B"],
    *,
    terminated: Bool[Array, "T B"],
    truncated: Bool[Array, "T B"],
    discount: float,
    decay: float,
) -> Float[Array, "T B"]:
    """Generalized advantage estimation with lambda = `decay` (1506.02438; 1707.06347, eq. 11).

    `next_values` are of the observation that the action led to, before any reset. A terminated
    episode is worth nothing after its end; one that the limit of time truncated is worth its
    `next_values`. No advantage reaches over the end of an episode. decay=0 gives the one-step
    temporal difference; decay=1 the discounted sum of the rewards and the last next value, less
    the value.
    """
    alive = 1.0 - terminated
    same = discount * decay * (1.0 - (terminated | truncated))
    deltas = rewards + discount * alive * next_values - values

    def backwards(later: Array, at: tuple[Array, Array]) -> tuple[Array, Array]:
        delta, carry_on = at
        advantage = delta + carry_on * later
        return advantage, advantage

    zeros = jnp.zeros_like(deltas[0])
    return jax.lax.scan(backwards, zeros, (deltas, same), reverse=True)[1]
