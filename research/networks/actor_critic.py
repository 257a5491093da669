"""Actors and critics: a policy's outputs and a value, by perceptrons."""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from research.errors import check_least

Outputs = tuple[Float[Array, "B P"], Float[Array, " B"]]


class ActorCritic(nn.Module):
    """Perceptrons with tanh (1707.06347, section 6.1), orthogonal at the start.

    The policy's outputs are `actions` logits or, `continuous`, the means and, of no observation,
    the logarithms of the standard deviations of `actions` numbers. `shared` has one perceptron
    under both the policy and the value.
    """

    actions: int
    continuous: bool
    widths: Sequence[int] = (64, 64)
    shared: bool = False
    log_std: float = 0.0

    @nn.compact
    def __call__(self, observations: Float[Array, "B ..."]) -> Outputs:
        """The policy's outputs and the values. Raises InputError: a width is less than 1."""
        check_least(1, widths=min(self.widths, default=1))
        flat = observations.reshape(len(observations), -1)
        under_policy = perceptron(flat, self.widths, "shared" if self.shared else "policy")
        under_value = under_policy if self.shared else perceptron(flat, self.widths, "value")
        outputs = dense(self.actions, 0.01, "policy_out")(under_policy)
        if self.continuous:
            outputs = with_log_std(self, outputs, self.log_std)
        return outputs, dense(1, 1.0, "value_out")(under_value)[:, 0]


def perceptron(h: Float[Array, "B D"], widths: Sequence[int], name: str) -> Float[Array, "B W"]:
    for layer, width in enumerate(widths):
        h = nn.tanh(dense(width, 2**0.5, f"{name}{layer}")(h))
    return h


def dense(width: int, scale: float, name: str) -> nn.Dense:
    return nn.Dense(width, kernel_init=nn.initializers.orthogonal(scale), name=name)


def with_log_std(
    module: nn.Module, means: Float[Array, "B A"], start: float
) -> Float[Array, "B P"]:
    """The means and, beside them, a parameter that no observation moves."""
    log_std = module.param("log_std", nn.initializers.constant(start), means.shape[-1:])
    return jnp.concatenate([means, jnp.broadcast_to(log_std, means.shape)], axis=-1)
