"""PPO: it finds values that are known, moves by the paper's surrogate, and keeps its episodes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from research.environments.worlds import ENVIRONMENTS
from research.errors import InputError
from research.methods.ppo import PPO, adapted, surrogate
from research.networks.actor_critic import ActorCritic
from research.networks.painter import Painter
from research.training.state import TrainState

RNG = jax.random.key(0, impl="rbg")
BATCH = {"episode": np.arange(32, dtype=np.int32)}
IMAGES = {"image": np.random.default_rng(0).integers(0, 17, (2, 4, 4, 1), dtype=np.uint8)}
QUICK = {"xla_backend_optimization_level": 0}  # tiny steps: compiling is what takes the time


def method(world="observed", **arguments):
    environment = ENVIRONMENTS[world]()
    network = ActorCritic(**environment.traits(), widths=(32,))
    arguments = {"rollout_steps": 8, "minibatches": 2, "discount": 0.9} | arguments
    return PPO(network=network, optimizer=optax.adam(1e-2), environment=environment, **arguments)


def painter():
    environment = ENVIRONMENTS["canvas"](image_shape=(4, 4, 1), levels=17, strokes=3)
    network = Painter(actions=4, width=4)
    return PPO(
        network=network,
        optimizer=optax.adam(1e-2),
        environment=environment,
        rollout_steps=2,
        minibatches=2,
    )


def trained(made, steps, batch=BATCH):
    state = jax.jit(made.init, compiler_options=QUICK)(RNG, batch)
    step = jax.jit(made.step, compiler_options=QUICK)
    for i in range(steps):
        state, metrics = step(state, batch, jax.random.fold_in(RNG, i))
    return state, metrics


KNOWN = {
    "observed": {-1.0: -1.0, 1.0: 1.0},
    "delayed": {0.0: 0.9, 1.0: 1.0},
    "endless": {1.0: 10.0},
    "matched": {-1.0: 1.0, 1.0: 1.0},
    "aimed": {-1.0: 1.0, 1.0: 1.0},
}


@pytest.mark.parametrize("world", KNOWN)
def test_values_that_are_known(world):
    made = method(world)
    state, metrics = trained(made, 100)
    observations = jnp.array(list(KNOWN[world]))[:, None]
    _, values = made.apply(state.params["model"], observations)
    expected = list(KNOWN[world].values())
    np.testing.assert_allclose(values, expected, atol=0.05 * max(1, *expected))
    if world in ("matched", "aimed"):
        assert float(metrics["model/return"]) > 0.95


def test_the_surrogate_is_clipped_where_that_makes_it_less():
    """1707.06347, figure 1: above 1 + epsilon for good actions, below 1 - epsilon for bad ones."""
    ratio = jnp.array([0.5, 1.0, 1.5, 0.5, 1.0, 1.5])
    advantage = jnp.array([1.0, 1.0, 1.0, -1.0, -1.0, -1.0])
    np.testing.assert_allclose(
        surrogate(ratio, advantage, clip=0.2), [0.5, 1.0, 1.2, -0.8, -1.0, -1.5]
    )
    np.testing.assert_allclose(surrogate(ratio, advantage, clip=None), ratio * advantage)
    slope = jax.grad(lambda ratio: surrogate(ratio, advantage, clip=0.2).sum())(ratio)
    np.testing.assert_array_equal(slope, [1, 1, 0, 0, -1, -1])


@pytest.fixture(scope="module")
def played():
    """A method, a state and its experience."""
    made = method("matched")
    state, _ = trained(made, 1)
    episodes = state.extra["episodes"]
    play = jax.jit(made.play, compiler_options=QUICK)
    return made, state, play(state.params["model"], episodes, RNG)[1]


def test_the_ratio_is_1_before_the_first_update(played):
    made, state, experience = played
    outputs, _ = made.apply(state.params["model"], experience["observation"])
    again = made.policy(outputs).log_prob(experience["action"])
    np.testing.assert_allclose(again, experience["log_prob"], atol=1e-5)


def test_the_loss_is_the_papers(played):
    """Equation 9 with equation 7's surrogate and equation 8's penalty, by NumPy."""
    made, state, experience = played
    made = method("matched", kl_weight=3.0)
    old = state.params["model"]
    new = jax.tree.map(lambda leaf: 1.5 * leaf + 0.02, old)
    state = dataclasses.replace(state, extra={"kl_weight": jnp.float32(3.0)})
    loss, _ = made.loss(new, state, experience, RNG)

    outputs, values = (np.asarray(x) for x in made.apply(new, experience["observation"]))
    log_p = np.asarray(jax.nn.log_softmax(outputs))
    old_log_p = np.asarray(jax.nn.log_softmax(experience["outputs"]))
    each = np.arange(len(values)), np.asarray(experience["action"])
    ratio = np.exp(log_p[each] - old_log_p[each])
    raw = np.asarray(experience["advantage"])
    advantage = (raw - raw.mean()) / raw.std()
    gain = np.minimum(ratio * advantage, np.clip(ratio, 0.8, 1.2) * advantage).mean()
    squared = np.square(values - np.asarray(experience["target"])).mean()
    entropy = -(np.exp(log_p) * log_p).sum(-1).mean()
    divergence = (np.exp(old_log_p) * (old_log_p - log_p)).sum(-1).mean()
    expected = -gain + 0.5 * 0.5 * squared - 0.01 * entropy + 3.0 * divergence
    assert (np.abs(ratio - 1) > 0.2).any()
    assert float(loss) == pytest.approx(expected, rel=1e-4)


def test_the_penaltys_weight_is_halved_doubled_or_kept():
    found = [float(adapted(jnp.float32(4), jnp.float32(kl), 0.01)) for kl in (0.005, 0.01, 0.02)]
    assert found == [2.0, 4.0, 8.0]


def test_the_penaltys_weight_is_that_of_the_last_step():
    """The divergence is far below its target, so each of three steps halves it."""
    made = method(kl_weight=4.0, kl_target=1e6, epochs=1)
    state, metrics = trained(made, 3)
    assert float(state.extra["kl_weight"]) == 0.5 == float(metrics["model/kl_weight"])


def test_the_divergence_that_adapts_is_that_after_the_updates():
    """A single update begins where the policies are the same, and moves away."""
    made = method("matched", kl_weight=1.0, kl_target=1e-6, epochs=1, minibatches=1)
    state, metrics = trained(made, 1)
    assert float(metrics["model/kl"]) > 1e-4
    assert float(state.extra["kl_weight"]) == 2.0


def test_without_a_target_the_penaltys_weight_stays():
    state, metrics = trained(method(kl_weight=4.0), 1)
    assert float(state.extra["kl_weight"]) == 4.0 == float(metrics["model/kl_weight"])


class Right:
    """The best policy of Matched, by logits, or of Aimed, by means and small deviations."""

    def apply(self, variables, observations):
        outputs = variables["params"] * observations + jnp.array([0.0, -9.0])
        return outputs, observations[:, 0]


@pytest.mark.parametrize(
    ("world", "weights", "uniform"), [("matched", [0.0, 30.0], 0.0), ("aimed", [0.5, 0.0], 5 / 12)]
)
def test_the_random_return_is_of_uniform_actions(world, weights, uniform):
    """Of Aimed 1 - (a - 1/2)^2 is 1 - 1/3 - 1/4 in the mean over a in [-1, 1]."""
    made = method(world)
    made.network, batch = Right(), {"episode": np.arange(4000, dtype=np.int32)}
    state = TrainState(0, {"model": jnp.array(weights)}, {}, {})
    found = made.evaluate(state, batch, RNG)
    np.testing.assert_allclose(found["return"], 1, atol=1e-3)
    error = 4 * float(found["random_return"].std()) / len(batch["episode"]) ** 0.5
    assert float(found["random_return"].mean()) == pytest.approx(uniform, abs=error)


def test_episodes_go_on_over_steps_and_the_first_step_starts_them():
    made = method("endless", rollout_steps=3, epochs=1)
    empty = made.init(RNG, BATCH).extra["episodes"]
    np.testing.assert_array_equal(empty.observations, 0)
    state, metrics = trained(made, 3)
    episodes = state.extra["episodes"]
    np.testing.assert_array_equal(episodes.states, 1)  # the ninth step of episodes of 8
    np.testing.assert_array_equal(episodes.returns, 1)
    assert float(metrics["model/return"]) == 8


def test_a_painting_keeps_its_target_and_the_next_one_takes_the_batchs():
    made = painter()
    later = {"image": 16 - IMAGES["image"]}
    step = jax.jit(made.step, compiler_options=QUICK)
    state = made.init(RNG, IMAGES)
    for batch, expected in ((IMAGES, IMAGES), (later, later)):
        state, _ = step(state, batch, RNG)
        held = state.extra["episodes"].states.target
        if batch is IMAGES:
            np.testing.assert_array_equal(held, made.worlds(expected))
    # Three strokes in, the second step has ended the first paintings and begun the next.
    np.testing.assert_array_equal(held, made.worlds(later))
    np.testing.assert_array_equal(state.extra["episodes"].states.strokes, 1)

    frames = made.sample(state, RNG, count=3)["frames"]  # of the last step's targets
    assert frames.shape == (3, 3, 4, 8, 1) and float(jnp.abs(frames).max()) <= 1
    np.testing.assert_array_equal(frames[0, 0, :, 4:], made.worlds(later)[0])
    np.testing.assert_array_equal(frames[2, 0, :, 4:], frames[0, 0, :, 4:])

    found = jax.jit(made.evaluate, compiler_options=QUICK)(state, IMAGES, RNG)
    assert {f"{n}_return" for n in ("random", "perfect", "random_search")} < found.keys()
    np.testing.assert_array_equal(found["length"], 3)
    assert bool((found["return"] <= found["perfect_return"]).all())


def test_a_painter_finds_the_one_bright_pixel():
    """One stroke of light there is worth 0.2 to 0.22 of the 0.25 there are; beside it, a loss."""
    world = ENVIRONMENTS["canvas"](image_shape=(4, 4, 1), levels=2, strokes=1, brush=0.5)
    painter = Painter(actions=4, width=8)
    made = PPO(
        network=painter,
        optimizer=optax.adam(1e-2),
        environment=world,
        rollout_steps=4,
        minibatches=2,
        discount=0.0,
        entropy_weight=0.0,
    )
    bright = {"image": np.eye(16, dtype=np.uint8).reshape(16, 4, 4, 1).repeat(4, axis=0)}
    _, metrics = trained(made, 60, bright)
    assert float(metrics["model/return"]) > 0.18


def test_an_episode_counts_to_its_end_and_no_further():
    made = method("delayed")
    found = made.evaluate(made.init(RNG, BATCH), BATCH, RNG)
    np.testing.assert_array_equal(found["return"], 1)
    np.testing.assert_array_equal(found["length"], 2)
    np.testing.assert_array_equal(found["random_return"], 1)


def test_bad_input_is_one_line():
    with pytest.raises(InputError, match="at least 1"):
        method().init(RNG, {"episode": np.zeros(0, np.int32)})
    with pytest.raises(InputError, match=r"32 environments x rollout_steps=8 .* minibatches=3"):
        method(minibatches=3).init(RNG, BATCH)
    with pytest.raises(InputError, match="minibatches=256 into parts of two or more"):
        method(minibatches=256).init(RNG, BATCH)
    made = method()
    with pytest.raises(InputError, match="Observed draws no pictures; canvas does"):
        made.sample(made.init(RNG, BATCH), RNG, count=1)
