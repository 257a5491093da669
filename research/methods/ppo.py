"""Proximal policy optimization: a step is a rollout and epochs of updates held near it."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from research.environments.environment import Environment
from research.errors import InputError, check_least
from research.methods.advantages import generalized_advantages
from research.methods.policies import Policy, noise, policy
from research.methods.rollouts import Act, Episodes, begin, film, rollout, whole_episodes
from research.training.method import Aux, Method, Objective, play
from research.training.optimizers import averaged
from research.training.rng import named
from research.training.state import TrainState
from research.training.types import Batch, Metrics, Params, Rng, Scalar


class PPO(Method):
    """PPO (1707.06347, algorithm 1).

    A step plays `rollout_steps` in as many environments as the batch has rows, row i saying what
    the next episodes of environment i are made with, then goes over what was played `epochs` times
    in `minibatches` parts. `network.apply({'params': p}, observations)` gives the policy's outputs,
    as `policies.policy` reads them, and values. `clip=None` leaves the surrogate's ratio as it is;
    `kl_weight` is beta of the penalty of equation 8, which `kl_target` has adapted.
    """

    def __init__(
        self,
        *,
        network: Any,
        optimizer: optax.GradientTransformation,
        environment: Environment,
        rollout_steps: int = 32,
        epochs: int = 4,
        minibatches: int = 4,
        discount: float = 0.99,
        decay: float = 0.95,
        clip: float | None = 0.2,
        kl_weight: float = 0.0,
        kl_target: float | None = None,
        entropy_weight: float = 0.01,
        value_weight: float = 0.5,
        reward_scale: float = 1.0,
    ):
        check_least(1, rollout_steps=rollout_steps, epochs=epochs, minibatches=minibatches)
        check_least(0, kl_weight=kl_weight, value_weight=value_weight)
        for name, value in {"discount": discount, "decay": decay}.items():
            if not 0 <= value <= 1:
                raise InputError(f"{name} is {value}; it must be in [0, 1]")
        for name, limit in {"clip": clip, "kl_target": kl_target}.items():
            if limit is not None and not limit > 0:
                raise InputError(f"{name} is {limit}; it must be above 0, or None")
        if kl_target is not None and not kl_weight:
            raise InputError(
                f"kl_target={kl_target} adapts kl_weight by factors of 2: it must start above 0"
            )
        self.network, self.optimizer, self.environment = network, optimizer, environment
        self.rollout_steps, self.epochs, self.minibatches = rollout_steps, epochs, minibatches
        self.discount, self.decay, self.clip = discount, decay, clip
        self.kl_weight, self.kl_target = kl_weight, kl_target
        self.entropy_weight, self.value_weight = entropy_weight, value_weight
        self.reward_scale = reward_scale
        self._film = jax.jit(self.film, static_argnames="count")

    def init_params(self, rng: Rng, batch: Batch) -> dict[str, Params]:
        observation = jnp.zeros((1, *self.environment.observation_shape))
        return {"model": self.network.init(rng, observation)["params"]}

    def init_extra(self, rng: Rng) -> dict[str, Any]:
        return {"kl_weight": jnp.float32(self.kl_weight)}

    def init(self, rng: Rng, batch: Batch) -> TrainState:
        """The state before the first step, which starts the episodes.

        Raises:
          InputError: the batch is empty, or what a step plays has no `minibatches` equal parts, of
            two steps or more.
        """
        count = rows(batch)
        if not count:
            raise InputError("data.batch_size is 0: PPO plays in one environment a row, at least 1")
        played = count * self.rollout_steps
        if played % self.minibatches or played < 2 * self.minibatches:
            raise InputError(
                f"{count} environments x rollout_steps={self.rollout_steps} are not divided by "
                f"minibatches={self.minibatches} into parts of two or more"
            )
        state = super().init(rng, batch)
        shapes = jax.eval_shape(self.begin, batch, rng)
        empty = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        return dataclasses.replace(state, extra=state.extra | {"episodes": empty})

    def objectives(self) -> Sequence[Objective]:
        return [Objective("model", self.loss, self.optimizer)]

    def step(self, state: TrainState, batch: Batch, rng: Rng) -> tuple[TrainState, Metrics]:
        """Plays, then learns; metrics are the mean over the updates.

        But `return` is that of the last finished episodes, the mean over environments, 0 where
        none is; and `kl`, of the old policy from the new, is that of the last epoch, or where it
        adapts `kl_weight`, after all updates.
        """
        begun = self.begin(batch, named(rng, "start"))
        episodes = jax.tree.map(
            lambda new, old: jnp.where(state.step == 0, new, old), begun, state.extra["episodes"]
        )
        episodes, experience = self.play(
            state.params["model"],
            dataclasses.replace(episodes, params=begun.params),
            named(rng, "play"),
        )
        state, updates = self.learn(state, experience, named(rng, "learn"))
        metrics = jax.tree.map(jnp.mean, updates)
        kl, kl_weight = jnp.mean(updates["kl"][-self.minibatches :]), state.extra["kl_weight"]
        if self.kl_target is not None:
            outputs, _ = self.apply(state.params["model"], experience["observation"])
            kl = self.divergence(experience, self.policy(outputs))
            kl_weight = adapted(kl_weight, kl, self.kl_target)
        metrics |= {"kl": kl, "kl_weight": kl_weight, "return": jnp.mean(episodes.last_returns)}
        state = dataclasses.replace(
            state,
            step=state.step + 1,
            extra=state.extra | {"episodes": episodes, "kl_weight": kl_weight},
        )
        return state, {f"model/{name}": value for name, value in metrics.items()}

    def begin(self, batch: Batch, rng: Rng) -> Episodes:
        """An episode a row."""
        return begin(self.environment, self.worlds(batch), rng, count=rows(batch))

    def worlds(self, batch: Batch) -> Any:
        """What the rows' episodes are made with."""
        return jax.vmap(self.environment.params)(batch)

    def play(
        self, params: Params, episodes: Episodes, rng: Rng
    ) -> tuple[Episodes, dict[str, Array]]:
        """A rollout, with advantages and targets of the value; arrays (T B, ...)."""

        def respond(observations: Array, noise_BxA: Array) -> tuple[Array, Any]:
            outputs, _ = self.apply(params, observations)
            return self.policy(outputs).draw(noise_BxA), outputs

        shape = (self.rollout_steps, len(episodes.returns))
        noises = noise(self.environment.action_space, named(rng, "actions"), shape)
        episodes, played = rollout(
            self.environment, respond, episodes, named(rng, "worlds"), noise=noises
        )
        before_and_after = jnp.stack([played["observation"], played.pop("next_observation")])
        flat = before_and_after.reshape(-1, *self.environment.observation_shape)
        values_TxB, next_values_TxB = self.apply(params, flat)[1].reshape(2, *shape)
        advantages_TxB = generalized_advantages(
            self.reward_scale * played.pop("reward"),
            values_TxB,
            next_values_TxB,
            terminated=played.pop("terminated"),
            truncated=played.pop("truncated"),
            discount=self.discount,
            decay=self.decay,
        )
        played |= {
            "log_prob": self.policy(played["outputs"]).log_prob(played["action"]),
            "advantage": advantages_TxB,
            "target": advantages_TxB + values_TxB,
        }
        return episodes, jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), played)

    def learn(
        self, state: TrainState, experience: dict[str, Array], rng: Rng
    ) -> tuple[TrainState, Metrics]:
        """`epochs` times over the experience, each in its own order; every update's metrics."""
        (objective,) = self.objectives()

        def update(state: TrainState, chosen: Array) -> tuple[TrainState, Metrics]:
            minibatch = jax.tree.map(lambda array: array[chosen], experience)
            return play(objective, state, minibatch, rng)

        # Sorting random bits shuffles as well as a permutation does, in one sort.
        bits = jax.random.bits(rng, (self.epochs, rows(experience)))
        orders = jnp.argsort(bits, axis=1).reshape(self.epochs * self.minibatches, -1)
        return jax.lax.scan(update, state, orders)

    def loss(self, params: Params, state: TrainState, batch: Batch, rng: Rng) -> tuple[Scalar, Aux]:
        """Equation 9 with the surrogate of equation 7 or 8, and half the value's squared error.

        Advantages are normalised first.
        """
        outputs, values = self.apply(params, batch["observation"])
        new = self.policy(outputs)
        advantage = batch["advantage"]
        advantage = (advantage - jnp.mean(advantage)) / (jnp.std(advantage) + 1e-8)
        ratio = jnp.exp(new.log_prob(batch["action"]) - batch["log_prob"])
        value_loss = 0.5 * jnp.mean(jnp.square(values - batch["target"]))
        entropy = jnp.mean(new.entropy())
        loss = self.value_weight * value_loss - self.entropy_weight * entropy
        loss -= jnp.mean(surrogate(ratio, advantage, clip=self.clip))
        kl = self.divergence(batch, new)
        if self.kl_weight:
            loss += state.extra["kl_weight"] * kl
        return loss, Aux({"value_loss": value_loss, "entropy": entropy, "kl": kl})

    def divergence(self, played: Batch, new: Policy) -> Scalar:
        """The mean KL[old, new] of the policy that played from `new`."""
        return jnp.mean(self.policy(played["outputs"]).divergence(new))

    def evaluate(self, state: TrainState, batch: Batch, rng: Rng) -> Metrics:
        """An episode a row by the averaged weights: `return` and `length`, (B,).

        `random_return` is that of uniform actions; the world's own baselines are beside it.
        """
        count, worlds = rows(batch), self.worlds(batch)

        def at_random(observations: Array, rng: Rng) -> Array:
            return self.environment.action_space.sample(rng, (count,))

        ours, random = (
            whole_episodes(self.environment, act, worlds, named(rng, name), count=count)
            for act, name in ((self.act(averaged(state, "model")), "policy"), (at_random, "random"))
        )
        keys = jax.random.split(named(rng, "baselines"), count)
        others = jax.vmap(self.environment.baselines)(keys, worlds)
        baselines = {"random": random["return"]} | others
        return ours | {f"{name}_return": value for name, value in baselines.items()}

    def sample(
        self, state: TrainState, rng: Rng, *, count: int, batch: Batch | None = None
    ) -> dict[str, Any]:
        """`frames` (count, T, H, W, C) in [-1, 1]: episodes at full length, every step's picture.

        They are made with the rows of `batch` in turn, by default with those of the last step.
        Raises InputError where the world draws no pictures.
        """
        worlds = self.worlds(batch) if batch else state.extra["episodes"].params
        worlds = jax.tree.map(
            lambda leaf: jnp.take(leaf, jnp.arange(count), axis=0, mode="wrap"), worlds
        )
        return {"frames": self._film(averaged(state, "model"), worlds, rng, count=count)}

    def film(self, params: Params, worlds: Any, rng: Rng, *, count: int) -> Array:
        """`sample` as a pure function of the parameters and the worlds."""
        return film(self.environment, self.act(params), worlds, rng, count=count)

    def act(self, params: Params) -> Act:
        """The policy, drawn from at every step."""

        def act(observations: Array, rng: Rng) -> Array:
            outputs, _ = self.apply(params, observations)
            shape = (len(observations),)
            return self.policy(outputs).draw(noise(self.environment.action_space, rng, shape))

        return act

    def apply(self, params: Params, observations: Array) -> tuple[Any, Array]:
        return self.network.apply({"params": params}, observations)

    def policy(self, outputs: Any) -> Policy:
        return policy(self.environment.action_space, outputs)


def surrogate(
    ratio: Float[Array, " B"], advantage: Float[Array, " B"], *, clip: float | None
) -> Float[Array, " B"]:
    """Equation 7 of each action with epsilon = `clip`; equation 6 where it is None."""
    if clip is None:
        return ratio * advantage
    return jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - clip, 1 + clip) * advantage)


def adapted(kl_weight: Scalar, kl: Scalar, target: float) -> Scalar:
    """Beta for the next step, halved or doubled as section 4 says."""
    low, high = kl < target / 1.5, kl > target * 1.5
    return kl_weight * jnp.where(low, 0.5, jnp.where(high, 2.0, 1.0))


def rows(batch: Any) -> int:
    """The size of the first axis that all of a batch's arrays have."""
    return len(jax.tree.leaves(batch)[0])
