"""PacGAN's protocol on mixtures in the plane, seeds of a row trained together, resumably."""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from research.data.mixtures import MIXTURES
from research.evaluation.modes import mode_scores
from research.methods.gan import GAN
from research.methods.gan_losses import packed
from research.networks.maxout import BatchNormGenerator, MaxoutDiscriminator
from research.training.rng import named
from research.training.state import TrainState
from research.training.types import Rng

RUNS = pathlib.Path("runs/papers/pacgan")
EXAMPLES = 100_000  # packs, drawn once and kept: an epoch
BATCH = 100  # packs
SAMPLES = 2500  # drawn after every epoch, always of the same latents
SCORES = ("modes", "high_quality", "reverse_kl")
GENERATOR: dict[str, Any] = {"width": 400, "layers": 4}
DISCRIMINATOR: dict[str, Any] = {"width": 200, "layers": 3, "pieces": 5}
ADAM = {"learning_rate": 1e-4, "b1": 0.8}
SETTINGS: dict[str, Any] = {
    "examples": EXAMPLES,
    "batch": BATCH,
    "samples": SAMPLES,
    "generator": GENERATOR,
    "discriminator": DISCRIMINATOR,
    "adam": ADAM,
}
SETTINGS_HASH = hashlib.sha256(json.dumps(SETTINGS).encode()).hexdigest()[:8]


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of table 1: packing 1 is the plain GAN. The paper trains 400 epochs of 10 seeds."""

    mixture: str
    packing: int
    epochs: int

    @property
    def method(self) -> GAN:
        adam = optax.adam(**ADAM)
        return GAN(
            networks={
                "generator": BatchNormGenerator(2, **GENERATOR),
                "discriminator": MaxoutDiscriminator(**DISCRIMINATOR),
            },
            optimizers={"generator": adam, "discriminator": adam},
            mixture=MIXTURES[self.mixture],
            latent_dim=2,
            packing=self.packing,
            play="simultaneous",
        )


def together(seed: int, seeds: int) -> tuple[int, ...]:
    """Those of a claim's `seeds` seeds that are best trained with `seed`.

    On an accelerator all, in one batch. A CPU's cache holds the weights and moments of one: one by
    one is faster there, and each is kept as it is done.
    """
    alone = jax.default_backend() == "cpu" or seed >= seeds
    return (seed,) if alone else tuple(range(seeds))


@functools.cache
def history(row: Row, seeds: tuple[int, ...]) -> Float[np.ndarray, "epochs seeds 3"]:
    """`SCORES` of the seeds after every epoch, trained from where the last call was stopped.

    No step depends on how many epochs there will be: a longer row goes on with a shorter one's.
    """
    named_seeds = "-".join(map(str, seeds))
    path = RUNS / f"{row.mixture}-packing{row.packing}-seed{named_seeds}-{SETTINGS_HASH}.npz"
    rngs = jax.vmap(jax.random.key)(jnp.array(seeds))
    packs = jnp.stack([training_packs(row, seed) for seed in seeds])
    train = jax.jit(functools.partial(all_epochs, row.method), donate_argnums=0)
    states = jax.jit(jax.vmap(functools.partial(start, row.method)))(rngs)
    found: list[Any] = []
    if path.exists():
        states, found = read(path, like=states)
    for epoch_index in range(len(found), row.epochs):
        of_epoch = jax.vmap(jax.random.fold_in, (0, None))(rngs, epoch_index)
        states, points = train(states, packs, of_epoch)
        found.append([scores(row, of_seed) for of_seed in np.asarray(points)])
        write(path, states, found)
        means = " ".join(f"{x:.3g}" for x in np.mean(found[-1], axis=0))
        print(f"{path.stem} epoch {epoch_index + 1}: {', '.join(SCORES)} {means}", file=sys.stderr)
    return np.asarray(found[: row.epochs])


def training_packs(row: Row, seed: int) -> Float[Array, "N D"]:
    """The points of a seed, packed once: each place of a pack draws with replacement."""
    points = MIXTURES[row.mixture].draw(EXAMPLES, seed=seed).astype(np.float32)
    rng = np.random.default_rng((seed, 1))
    return jnp.concatenate(
        [points[rng.integers(EXAMPLES, size=EXAMPLES)] for _ in range(row.packing)], axis=1
    )


def start(method: GAN, rng: Rng) -> TrainState:
    return method.init(named(rng, "init"), {"point": jnp.zeros((method.packing, 2))})


def all_epochs(method: GAN, states: Any, packs: Array, rngs: Array) -> tuple[TrainState, Array]:
    """An epoch of every seed, and the points (seeds, samples, 2) that each then draws."""
    at_once = None if jax.default_backend() == "cpu" else len(rngs)
    seeds = (states, packs, rngs)
    return jax.lax.map(lambda seed: epoch(method, *seed), seeds, batch_size=at_once)


def epoch(method: GAN, state: TrainState, packs: Array, rng: Rng) -> tuple[TrainState, Array]:
    """Every pack once in a new order; then `SAMPLES` points by running statistics."""
    order = jax.random.permutation(named(rng, "order"), len(packs)).reshape(-1, BATCH)

    def body(state: TrainState, rows: Array) -> tuple[TrainState, None]:
        return step(method, state, packs[rows], jax.random.fold_in(rng, state.step)), None

    state, _ = jax.lax.scan(body, state, order)
    latents = method.latents(jax.random.key(0), SAMPLES)
    return state, method.draw(state, latents)


def step(method: GAN, state: TrainState, real: Float[Array, "P D"], rng: Rng) -> TrainState:
    """`GAN.step` of simultaneous play and the non-saturating loss, with one backward pass less.

    The discriminator's loss has the slope s(l) at a fake's logit l, the generator's -s(-l), s
    being the logistic function: -exp(-l) times as much. As logits depend on their own pack alone,
    the discriminator's pass back to a fake, times that, is the generator's.
    """
    latent = method.latents(rng, len(real) * method.packing)
    batch = {"point": real.reshape(-1, 2), "latent": latent}

    def generate(params: Any) -> tuple[Array, Any]:
        fake, statistics = method.fakes(params, state, batch, rng)
        return packed(fake, method.packing), statistics

    def discriminate(params: Any, fake: Array) -> Array:
        return method.score(params, None)(jnp.concatenate([real, fake]))

    players = state.params
    fake, to_generator, statistics = jax.vjp(generate, players["generator"], has_aux=True)
    logits, to_discriminator = jax.vjp(discriminate, players["discriminator"], fake)
    on_real, on_fake = jnp.split(logits, 2)
    slopes = jnp.concatenate([-jax.nn.sigmoid(-on_real), jax.nn.sigmoid(on_fake)]) / len(real)
    of_discriminator, of_fake = to_discriminator(slopes)
    # Beyond logits of -80 float32 has no slope left to rescale.
    ratio = -jnp.exp(jnp.minimum(-on_fake, 80.0))
    (of_generator,) = to_generator(of_fake * ratio[:, None])
    gradients = {"discriminator": of_discriminator, "generator": of_generator}
    params, opt_state = {}, {}
    for group, gradient in gradients.items():
        updates, opt_state[group] = method.optimizers[group].update(
            gradient, state.opt_state[group], players[group]
        )
        params[group] = optax.apply_updates(players[group], updates)
    return TrainState(state.step + 1, params, opt_state, state.extra | statistics)


def scores(row: Row, points: Float[np.ndarray, "N 2"]) -> list[float]:
    mixture = MIXTURES[row.mixture]
    found = mode_scores(points, mixture.centres, mixture.std)
    return [found[name] for name in SCORES]


def write(path: pathlib.Path, states: TrainState, found: list[Any]) -> None:
    """The states and the scores so far, in one file that is never half written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    leaves: dict[str, Any] = {
        str(i): np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(states))
    }
    unfinished = path.with_suffix(".part.npz")
    np.savez(unfinished, history=np.asarray(found), **leaves)
    os.replace(unfinished, path)


def read(path: pathlib.Path, *, like: TrainState) -> tuple[TrainState, list[Any]]:
    """What `write` wrote, in the structure of `like`."""
    with np.load(path) as file:
        leaves, structure = jax.tree.flatten(like)
        kept = [jnp.asarray(file[str(i)]) for i in range(len(leaves))]
        return jax.tree.unflatten(structure, kept), list(file["history"])
