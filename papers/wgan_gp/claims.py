"""WGAN-GP's claims: the penalised critic's slope, and the distance it estimates."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy
from jaxtyping import Array, Float

from papers.ledger import Claim
from papers.rules import Measurement, identity, ordered, violated
from research.data.mixtures import MIXTURES
from research.methods.gan_losses import Score, gradient_penalty, gradients, wasserstein
from research.networks.maxout import MaxoutDiscriminator
from research.training.types import Params, Rng, Scalar

PENALTY = 10.0  # lambda of algorithm 1
POINTS, STEPS, CLIP = 256, 6000, 0.01
CRITIC: dict[str, Any] = {"width": 64, "layers": 3, "pieces": 3}

Points = Float[np.ndarray, "N 2"]


def critic_loss(score: Score, real: Array, fake: Array, rng: Rng, penalty: float) -> Scalar:
    """Eq. 3: minus the estimated distance, and the penalty."""
    players = wasserstein()
    loss = jnp.mean(players.real(score(real))) + jnp.mean(players.fake(score(fake)))
    return loss + penalty * gradient_penalty(score, real, fake, rng)


def measure_linear(seed: int) -> Measurement:
    """The slope of the best linear critic of points and their copies moved by d.

    Its loss is -s |d| + lambda (s - 1)^2, lowest at the slope s = 1 + |d| / (2 lambda).
    """
    rng = np.random.default_rng(seed)
    with jax.enable_x64(True):
        fake, shift = jnp.asarray(rng.normal(size=(POINTS, 2))), jnp.asarray(rng.normal(size=2))

        def loss(w: Array) -> Array:
            key = jax.random.key(seed)
            return critic_loss(lambda x: x @ w, fake + shift, fake, key, PENALTY)

        # At norm 1 the penalty is flat sideways, and Newton's method has no step.
        w = 2 * shift / jnp.linalg.norm(shift)
        for _ in range(10):
            w = w - jnp.linalg.solve(jax.hessian(loss)(w), jax.grad(loss)(w))
        distance = float(jnp.linalg.norm(shift))
        towards = float(w @ shift / jnp.linalg.norm(w)) / distance
        return {
            "slope_error": float(jnp.linalg.norm(w)) - (1 + distance / (2 * PENALTY)),
            "direction_error": 1 - towards,
            "unbiased_slope_error": distance / (2 * PENALTY),
        }


@functools.cache
def samples(seed: int) -> tuple[Points, Points]:
    """Points of the ring, and as many of a Gaussian with its mean and covariance."""
    real = MIXTURES["ring"].draw(POINTS, seed=seed)
    fake = np.random.default_rng((seed, 1)).normal(scale=np.sqrt(0.5), size=(POINTS, 2))
    return real.astype(np.float32), fake.astype(np.float32)


def transport(real: Points, fake: Points) -> tuple[float, Points]:
    """W1 of two equal sets, exact, and for each fake the real it is matched with."""
    costs = np.linalg.norm(fake[:, None].astype(np.float64) - real, axis=-1)
    rows, columns = scipy.optimize.linear_sum_assignment(costs)
    return float(costs[rows, columns].mean()), real[columns]


def trained_critic(seed: int, *, penalty: float, clip: float | None) -> Score:
    """A maxout critic after `STEPS` steps of Adam on all points, clipped after each if asked."""
    real, fake = map(jnp.asarray, samples(seed))
    network: Any = MaxoutDiscriminator(**CRITIC)
    adam = optax.adam(1e-3, b1=0.5, b2=0.9)
    params = network.init(jax.random.key(seed), real)["params"]

    def score_of(params: Params) -> Score:
        return lambda points: network.apply({"params": params}, points)

    def step(carry: tuple[Params, optax.OptState], rng: Rng) -> tuple[tuple, None]:
        params, opt_state = carry

        def loss(params: Params) -> Scalar:
            return critic_loss(score_of(params), real, fake, rng, penalty)

        updates, opt_state = adam.update(jax.grad(loss)(params), opt_state)
        params = optax.apply_updates(params, updates)
        if clip is not None:
            params = jax.tree.map(lambda leaf: jnp.clip(leaf, -clip, clip), params)
        return (params, opt_state), None

    rngs = jax.random.split(jax.random.key(seed + 1), STEPS)
    train = jax.jit(lambda params: jax.lax.scan(step, (params, adam.init(params)), rngs)[0][0])
    trained = train(params)
    return score_of(trained)


def measure_critic(seed: int) -> Measurement:
    """Estimated over exact distance, and slopes between matched points, of two kinds of critic."""
    real, fake = samples(seed)
    exact, matched = transport(real, fake)
    share = np.random.default_rng(seed).uniform(size=(POINTS, 1))
    between = jnp.asarray(share * matched + (1 - share) * fake, jnp.float32)
    found = {"distance": exact}
    for name, penalty, clip in (("penalised", PENALTY, None), ("clipped", 0.0, CLIP)):
        score = trained_critic(seed, penalty=penalty, clip=clip)
        norms = np.linalg.norm(gradients(score, between), axis=1)
        estimate = float(jnp.mean(score(jnp.asarray(real))) - jnp.mean(score(jnp.asarray(fake))))
        found[f"{name}_ratio"] = estimate / exact
        found[f"{name}_norm"] = float(np.median(norms))
        found[f"{name}_ratio_error"] = abs(estimate / exact - 1)
    return found


CLAIMS = [
    Claim(
        id="wgan_gp.linear",
        statement="The penalised critic points along the transport, with a gradient of norm 1 up "
        "to the penalty's own |d| / (2 lambda).",
        source="proposition 1, eq. 3",
        figure="identity, slope 1 + |d| / (2 lambda) [M, derived here]",
        figures={"slope_error": 0, "direction_error": 0},
        kind="exact",
        protocol=f"Linear critics, {POINTS} points and their copies moved by d, lambda "
        f"{PENALTY:g}, Newton's method on our loss, float64. Baseline: how far that is from 1.",
        measure=measure_linear,
        rules=[
            identity("slope_error", 0, tolerance=1e-8),
            identity("direction_error", 0, tolerance=1e-8),
            violated("unbiased_slope_error", least=1e-3),
        ],
        seeds=5,
        ours=["slope_error", "direction_error"],
        baseline=["unbiased_slope_error"],
        settings={"points": POINTS, "penalty": PENALTY},
    ),
    Claim(
        id="wgan_gp.critic",
        statement="With a gradient penalty a critic's loss estimates W1 and its gradients between "
        "matched points have norm 1; with clipped weights they vanish.",
        source="proposition 1, section 3, figure 1",
        figure="norm 1; clipping shown in curves, no number [M]",
        figures={"penalised_ratio": 1, "penalised_norm": 1},
        kind="direction",
        protocol=f"{POINTS} points of the ring and of a Gaussian, exact W1 by assignment; maxout "
        f"critics {CRITIC}, {STEPS} steps of Adam, lambda {PENALTY:g} or clip {CLIP:g}; "
        "the median norm at points between matched pairs.",
        measure=measure_critic,
        rules=[
            identity("penalised_ratio", 1, tolerance=0.1),
            identity("penalised_norm", 1, tolerance=0.1),
            identity("clipped_norm", 0, tolerance=0.1),
            ordered("penalised_ratio_error", "clipped_ratio_error"),
        ],
        seeds=5,
        ours=["penalised_ratio", "penalised_norm", "distance"],
        baseline=["clipped_ratio", "clipped_norm"],
        settings={
            "points": POINTS,
            "steps": STEPS,
            "penalty": PENALTY,
            "clip": CLIP,
            "critic": CRITIC,
        },
    ),
    Claim(
        id="wgan_gp.cifar10",
        statement="A ResNet reaches an inception score of 7.86 on CIFAR-10 without classes.",
        source="table 3",
        figure="7.86 +- .07 [M]",
        figures={"inception_score": 7.86},
        kind="accelerator",
        protocol="The paper's ResNet, 5 critic steps a generator step, 200k steps.",
        not_run="its training takes days of accelerators; CIFAR-10 and Inception's weights are "
        "downloads",
    ),
]
