"""Worlds: gymnax's interface, the reset at an episode's end, known values, what is refused."""

import sys

import jax
import jax.numpy as jnp
import pytest

from research.environments.environment import Box, Discrete, check_actions, step_all
from research.environments.gymnax_world import Gymnax
from research.environments.worlds import ENVIRONMENTS
from research.errors import InputError

KEY = jax.random.key(0)
ANALYTIC = ("observed", "delayed", "endless", "matched", "aimed")


def played(environment, actions, keys=None):
    """The steps of one environment."""
    observation, state = environment.reset(KEY, ())
    steps = []
    for i, action in enumerate(actions):
        steps.append(environment.step(jax.random.fold_in(KEY, i), state, action, ()))
        state = steps[-1].state
    return observation, steps


def test_delayed_pays_at_its_second_step_and_begins_anew():
    first, steps = played(ENVIRONMENTS["delayed"](), [0] * 4)
    assert [float(step.reward) for step in steps] == [0, 1, 0, 1]
    assert [bool(step.terminated) for step in steps] == [False, True, False, True]
    assert not any(bool(step.truncated) for step in steps)
    assert [float(step.observation[0]) for step in (steps[0], steps[1])] == [1, 0]
    assert float(steps[1].info["final_observation"][0]) == 2 and float(first[0]) == 0


def test_endless_is_truncated_and_never_terminates():
    world = ENVIRONMENTS["endless"]()
    _, steps = played(world, [0] * 17)
    ends = [i for i, step in enumerate(steps) if bool(step.truncated)]
    assert ends == [7, 15] and not any(bool(step.terminated) for step in steps)


@pytest.mark.parametrize(("action", "reward"), [(0, -1.0), (1, 1.0)])
def test_matched_pays_for_the_sign_seen(action, reward):
    world = ENVIRONMENTS["matched"]()
    assert float(world.step(KEY, jnp.ones(1), action, ()).reward) == reward
    assert float(world.step(KEY, -jnp.ones(1), action, ()).reward) == -reward


def test_observed_and_aimed_pay_what_they_say():
    assert float(ENVIRONMENTS["observed"]().step(KEY, -jnp.ones(1), 0, ()).reward) == -1
    aimed = ENVIRONMENTS["aimed"]()
    assert float(aimed.step(KEY, jnp.ones(1), jnp.array([0.5]), ()).reward) == 1
    assert float(aimed.step(KEY, jnp.ones(1), jnp.array([-0.5]), ()).reward) == 0


@pytest.mark.parametrize("name", ANALYTIC)
def test_a_world_keeps_its_shapes_over_a_step(name):
    world = ENVIRONMENTS[name]()
    keys = jax.random.split(KEY, 3)
    before = jax.vmap(world.reset)(keys, ())
    actions = world.action_space.sample(KEY, (3,))
    assert bool(world.action_space.contains(actions).all())
    step = step_all(world, keys, before[1], actions, ())
    shapes = lambda tree: jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)  # noqa: E731
    assert shapes((step.observation, step.state)) == shapes(before)
    assert before[0].shape == (3, *world.observation_shape) and step.reward.shape == (3,)


def test_gymnax_tells_truncation_from_termination():
    world = Gymnax(id="CartPole-v1")
    assert world.traits() == {"actions": 2, "continuous": False} and world.max_steps == 500
    _, state = world.reset(KEY, ())
    late = world.step(KEY, state.replace(time=jnp.int32(499)), jnp.int32(0), ())
    assert bool(late.truncated) and not bool(late.terminated) and int(late.state.time) == 0
    fallen = world.step(KEY, state.replace(theta=jnp.float32(1.0)), jnp.int32(0), ())
    assert bool(fallen.terminated) and not bool(fallen.truncated)
    assert abs(float(fallen.info["final_observation"][2])) > 0.9
    assert abs(float(fallen.observation[2])) <= 0.05


def unreachable(id):
    raise OSError("no route to host")


def test_gymnax_that_is_missing_or_lacks_the_world(monkeypatch):
    with pytest.raises(InputError, match="nearest: CartPole-v1"):
        Gymnax(id="CartPole")
    with monkeypatch.context() as patched:
        patched.setattr("gymnax.make", unreachable)
        with pytest.raises(InputError, match="'CartPole-v1' can't be made here: no route to host"):
            Gymnax(id="CartPole-v1")
    monkeypatch.setitem(sys.modules, "gymnax", None)
    with pytest.raises(InputError, match="the extra `rl` brings"):
        Gymnax(id="CartPole-v1")


@pytest.mark.parametrize(
    ("space", "actions", "message"),
    [
        (Discrete(2), jnp.array([0, 2]), r"action 2 of environment 1 is outside Discrete\(count=2"),
        (Box(-1.0, 1.0, 2), jnp.array([[0, jnp.nan]]), r"of environment 0 is outside Box\(low=-1"),
    ],
)
def test_an_action_out_of_range_is_named(space, actions, message):
    with pytest.raises(InputError, match=message):
        check_actions(space, actions)


def test_debug_mode_checks_actions():
    world, keys = ENVIRONMENTS["observed"](), jax.random.split(KEY, 2)
    states = jnp.ones((2, 1))
    with jax.disable_jit(), pytest.raises(InputError, match="action -1 of environment 0"):
        step_all(world, keys, states, jnp.array([-1, 0]), ())
