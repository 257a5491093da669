"""Actors and critics: what is shared, and how they start."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.networks.actor_critic import ActorCritic

RNG = jax.random.key(0, impl="rbg")
SEEN = jnp.ones((2, 3, 2))


@pytest.mark.parametrize("shared", [False, True])
def test_the_value_moves_the_policys_trunk_only_where_shared(shared):
    network = ActorCritic(actions=3, continuous=False, widths=(8,), shared=shared)
    (outputs, values), variables = network.init_with_output(RNG, SEEN)
    assert outputs.shape == (2, 3) and values.shape == (2,)
    of_value = jax.grad(lambda p: network.apply({"params": p}, SEEN)[1].sum())(variables["params"])
    trunk = "shared0" if shared else "policy0"
    assert bool((of_value[trunk]["kernel"] != 0).any()) == shared
    kernel = variables["params"][trunk]["kernel"]
    np.testing.assert_allclose(kernel @ kernel.T, 2 * jnp.eye(6), atol=1e-5)


def test_a_continuous_policys_deviation_is_of_no_observation():
    network = ActorCritic(actions=3, continuous=True, widths=(8,), log_std=-0.5)
    variables = network.init(RNG, SEEN)
    outputs, _ = network.apply(variables, jnp.stack([SEEN[0], -SEEN[0]]))
    np.testing.assert_array_equal(outputs[:, 3:], -0.5)
    assert bool((outputs[0, :3] != outputs[1, :3]).all())
