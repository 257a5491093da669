"""Policies: the distributions over actions that a network's outputs stand for."""

import abc
import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int, Key

from research.environments.environment import Discrete, Space
from research.networks.painter import Strokes


class Policy(abc.ABC):
    """A distribution over actions for each of B observations.

    A draw is a function of noise of the shape of the outputs' mean or logits, so that the noise of
    a whole rollout can be drawn at once.
    """

    @abc.abstractmethod
    def draw(self, noise: Float[Array, "*B A"]) -> Array:
        """The actions that `noise` stands for."""

    @abc.abstractmethod
    def log_prob(self, actions: Array) -> Float[Array, "*B"]:
        """The log-probability, or its density, of the actions."""

    @abc.abstractmethod
    def entropy(self) -> Float[Array, "*B"]:
        """The (differential) entropy in nats."""

    @abc.abstractmethod
    def divergence(self, other: Any) -> Float[Array, "*B"]:
        """KL[self, other] in nats; `other` is of the same kind."""


@struct.dataclass
class Categorical(Policy):
    """Over 0..A - 1, by logits."""

    logits: Float[Array, "*B A"]

    def draw(self, noise: Float[Array, "*B A"]) -> Int[Array, "*B"]:
        """The Gumbel-max trick, of standard Gumbel noise."""
        return jnp.argmax(self.logits + noise, axis=-1)

    def log_prob(self, actions: Int[Array, "*B"]) -> Float[Array, "*B"]:
        # A product with a one-hot vector; on a CPU the gradient of a gather is slow.
        chosen = jax.nn.one_hot(actions, self.logits.shape[-1])
        return jnp.sum(chosen * jax.nn.log_softmax(self.logits), axis=-1)

    def entropy(self) -> Float[Array, "*B"]:
        log_p = jax.nn.log_softmax(self.logits)
        return -jnp.sum(jnp.exp(log_p) * log_p, axis=-1)

    def divergence(self, other: "Categorical") -> Float[Array, "*B"]:
        log_p, log_q = jax.nn.log_softmax(self.logits), jax.nn.log_softmax(other.logits)
        return jnp.sum(jnp.exp(log_p) * (log_p - log_q), axis=-1)


@struct.dataclass
class Gaussian(Policy):
    """Over vectors of A numbers, independent, by means and logarithms of standard deviations."""

    mean: Float[Array, "*B A"]
    log_std: Float[Array, "*B A"]

    def draw(self, noise: Float[Array, "*B A"]) -> Float[Array, "*B A"]:
        """`noise` is standard normal."""
        return self.mean + jnp.exp(self.log_std) * noise

    def log_prob(self, actions: Float[Array, "*B A"]) -> Float[Array, "*B"]:
        z = (actions - self.mean) * jnp.exp(-self.log_std)
        return jnp.sum(-0.5 * jnp.square(z) - self.log_std - 0.5 * math.log(2 * math.pi), axis=-1)

    def entropy(self) -> Float[Array, "*B"]:
        return jnp.sum(self.log_std + 0.5 * math.log(2 * math.pi * math.e), axis=-1)

    def divergence(self, other: "Gaussian") -> Float[Array, "*B"]:
        ratio = jnp.exp(2 * (self.log_std - other.log_std))
        shift = jnp.square((self.mean - other.mean) * jnp.exp(-other.log_std))
        terms = other.log_std - self.log_std + 0.5 * (ratio + shift - 1)
        return jnp.sum(terms, axis=-1)


@struct.dataclass
class Pointing(Policy):
    """A place by a heat map, and what is done there by a Gaussian that each place has of its own.

    An action is (x, y) in [-1, 1], the centre of one of H x W pixels, and K numbers more; its
    density is the probability of the pixel times the density of those. Unlike one Gaussian of the
    place, it can hold two distant places for good and what lies between them for bad.
    """

    logits: Float[Array, "*B H W"]
    means: Float[Array, "*B H W K"]
    log_stds: Float[Array, "*B H W K"]

    def draw(self, noise: Float[Array, "*B A"]) -> Float[Array, "*B A"]:
        """`noise` is standard normal, A = 2 + K; the second number is not used."""
        probabilities = jnp.exp(self.log_heat())
        count = probabilities.shape[-1]
        below = jnp.cumsum(probabilities, axis=-1) < jax.scipy.stats.norm.cdf(noise[..., :1])
        chosen = jax.nn.one_hot(jnp.minimum(jnp.sum(below, axis=-1), count - 1), count)
        rest = self.rest(chosen).draw(noise[..., 2:])
        return jnp.concatenate([chosen @ self.places(), rest], axis=-1)

    def log_prob(self, actions: Float[Array, "*B A"]) -> Float[Array, "*B"]:
        away = jnp.sum(jnp.square(actions[..., None, :2] - self.places()), axis=-1)
        chosen = jax.nn.one_hot(jnp.argmin(away, axis=-1), away.shape[-1])
        heat = jnp.sum(chosen * self.log_heat(), axis=-1)
        return heat + self.rest(chosen).log_prob(actions[..., 2:])

    def entropy(self) -> Float[Array, "*B"]:
        log_p = self.log_heat()
        rest = Gaussian(self.means, self.log_stds).entropy().reshape(log_p.shape)
        return jnp.sum(jnp.exp(log_p) * (rest - log_p), axis=-1)

    def divergence(self, other: "Pointing") -> Float[Array, "*B"]:
        log_p, log_q = self.log_heat(), other.log_heat()
        mine, its = (Gaussian(p.means, p.log_stds) for p in (self, other))
        rest = mine.divergence(its).reshape(log_p.shape)
        return jnp.sum(jnp.exp(log_p) * (log_p - log_q + rest), axis=-1)

    def log_heat(self) -> Float[Array, "*B N"]:
        """The log-probability of each pixel, row by row."""
        return jax.nn.log_softmax(self.logits.reshape(*self.logits.shape[:-2], -1))

    def places(self) -> Float[Array, "N 2"]:
        """The (x, y) of each pixel, row by row."""
        height, width = self.logits.shape[-2:]
        y, x = jnp.meshgrid(jnp.linspace(-1, 1, height), jnp.linspace(-1, 1, width), indexing="ij")
        return jnp.stack([x, y], axis=-1).reshape(-1, 2)

    def rest(self, chosen: Float[Array, "*B N"]) -> Gaussian:
        """The Gaussian of the pixel that `chosen` has 1 for."""
        *batch, height, width, size = self.means.shape
        flat = (x.reshape(*batch, height * width, size) for x in (self.means, self.log_stds))
        return Gaussian(*(jnp.sum(chosen[..., None] * x, axis=-2) for x in flat))


def policy(space: Space, outputs: Any) -> Policy:
    """Of `Strokes`; of logits (A) for discrete actions, of means and log deviations (2 A) else."""
    if isinstance(outputs, Strokes):
        return Pointing(*outputs)
    if isinstance(space, Discrete):
        return Categorical(outputs)
    return Gaussian(*jnp.split(outputs, 2, axis=-1))


def noise(space: Space, key: Key[Array, ""], shape: tuple[int, ...]) -> Float[Array, "*shape A"]:
    """What `Policy.draw` takes."""
    if isinstance(space, Discrete):
        return jax.random.gumbel(key, (*shape, space.count))
    return jax.random.normal(key, (*shape, space.size))
