"""The Dirac-GAN: one parameter a player, data at 0, played by `research.methods.gan.GAN`."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from research.methods.gan import GAN
from research.training.state import TrainState

State = Float[Array, "2"]  # theta of the generator, psi of the discriminator


class Point:
    """The generator: theta plus its latents, which are instance noise or 0."""

    def apply(self, variables: Any, z: Array, labels: None, *, train: bool, mutable: Any) -> Any:
        return variables["params"] + z, {}


class Linear:
    """The discriminator: psi x."""

    def apply(self, variables: Any, x: Array, labels: None) -> Array:
        return variables["params"] * x[:, 0]


def game(h: float, *, loss: str = "saturating", play: str = "simultaneous", **options: Any) -> GAN:
    """Gradient descent of step `h` on both losses (1801.04406, definition 2.1)."""
    descent = optax.sgd(h)
    return GAN(
        networks={"generator": Point(), "discriminator": Linear()},
        optimizers={"generator": descent, "discriminator": descent},
        dim=1,
        latent_dim=1,
        loss=loss,
        play=play,
        **options,
    )


def update(made: GAN, state: State, *, noise: float = 0.0) -> State:
    """One step of the method. `noise` is added to data and fakes as +noise and -noise in equal
    shares, which have its mean and variance: all that its flow depends on at the solution."""
    groups = {"generator": state[0], "discriminator": state[1]}
    opt_state = {group: made.optimizers[group].init(value) for group, value in groups.items()}
    added = noise * jnp.array([[1.0], [-1.0]])
    before = TrainState(jnp.zeros((), jnp.int32), groups, opt_state, {})
    after, _ = made.step(before, {"point": added, "latent": added}, jax.random.key(0))
    return jnp.stack([after.params["generator"], after.params["discriminator"]])


def eigenvalues(made: GAN, *, noise: float = 0.0) -> np.ndarray:
    """Of the update's Jacobian at the solution (0, 0), in float64, by imaginary then real part."""
    with jax.enable_x64(True):
        jacobian = jax.jacfwd(functools.partial(update, made, noise=noise))(jnp.zeros(2))
        return in_order(np.linalg.eigvals(np.asarray(jacobian)))


def in_order(values: Any) -> np.ndarray:
    values = np.asarray(values, complex)
    return values[np.lexsort((values.real.round(9), values.imag.round(9)))]


def trajectory(
    made: GAN,
    start: State | np.ndarray,
    *,
    steps: int,
    noise: float = 0.0,
    clip: float | None = None,
) -> Float[np.ndarray, "T 2"]:
    """The states from `start` on; with `clip` psi is clipped after each step, as WGAN's weights."""

    def body(state: State, _: None) -> tuple[State, State]:
        after = update(made, state, noise=noise)
        if clip is not None:
            after = after.at[1].set(jnp.clip(after[1], -clip, clip))
        return after, after

    with jax.enable_x64(True):
        start = jnp.asarray(start, jnp.float64)
        _, states = jax.jit(lambda start: jax.lax.scan(body, start, None, steps))(start)
        return np.concatenate([start[None], states])
