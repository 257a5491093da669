"""The claim that tighter bounds drown the inference network's gradient in noise."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from papers.ledger import Claim
from papers.rules import Measurement, identity
from research.methods.importance_bounds import (
    Terms,
    gaussian_kl,
    gaussian_log_ratio,
    importance_weighted,
)

DIMS, COUNT = 20, 1024
VARIANCE = 2 / 3  # of q
OFFSET = 0.01  # deviation of the parameters from their optimum
SAMPLES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
LEAST = 32  # samples from which a slope is fitted: a rate is a limit
REPLICATES = 500  # each of a draw and its mirror image
BLOCK = 32  # data at a time: their noise stays in a core's cache
PARAMETERS = ("generative", "inference")  # mu and b


@functools.cache
def signal_to_noise(seed: int) -> dict[str, dict[int, float]]:
    """||E g|| / sqrt(tr Var g) of gradients g in mu and b, by K at M = 1 and by M at K = 1.

    The gradient is of the mean bound of all data. g(eps) and g(-eps) are one in distribution, and
    their noise nearly cancels in their mean, of which E is taken.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=DIMS) + np.sqrt(2) * rng.normal(size=(COUNT, DIMS))
    mu = x.mean(axis=0)
    a = np.eye(DIMS) / 2 + OFFSET * rng.normal(size=(DIMS, DIMS))
    mu_b = mu + OFFSET * rng.normal(size=DIMS), mu / 2 + OFFSET * rng.normal(size=DIMS)
    x, a, mu_b = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), (x, a, mu_b))

    def bound(mu_b: tuple, x_NxD: jax.Array, eps_NxKxD: jax.Array) -> jax.Array:
        mu, b = mu_b
        return jnp.mean(importance_weighted(terms(mu, b, a, x_NxD, eps_NxKxD), 1.0))

    def gradients(x_NxD: jax.Array, eps_NxKxD: jax.Array) -> dict[str, jax.Array]:
        gradient = jax.grad(bound)
        found = {f"K_{k}": gradient(mu_b, x_NxD, eps_NxKxD[:, :k]) for k in SAMPLES}
        singles = jax.vmap(gradient, in_axes=(None, None, 1))
        each = singles(mu_b, x_NxD, eps_NxKxD[:, :, None])
        for m in SAMPLES:
            found[f"M_{m}"] = jax.tree.map(lambda leaf, m=m: leaf[:m].mean(axis=0), each)
        return found

    def block(rng_and_x: tuple) -> dict[str, jax.Array]:
        rng, x_NxD = rng_and_x
        eps = jax.random.normal(rng, (len(x_NxD), SAMPLES[-1], DIMS))
        return jax.lax.map(functools.partial(gradients, x_NxD), jnp.stack([eps, -eps]))

    def pair(rng: jax.Array) -> dict[str, jax.Array]:
        blocks = x.reshape(-1, min(BLOCK, COUNT), DIMS)
        drawn = jax.lax.map(block, (jax.random.split(rng, len(blocks)), blocks))
        return jax.tree.map(lambda leaf: leaf.mean(axis=0), drawn)

    rngs = jax.random.split(jax.random.key(seed), REPLICATES)
    drawn = jax.jit(functools.partial(jax.lax.map, pair))(rngs)
    found: dict[str, dict[int, float]] = {}
    for name, both in drawn.items():
        axis, count = name.split("_")
        for parameter, g_Rx2xD in zip(PARAMETERS, both, strict=True):
            ratio = ratio_of(np.asarray(g_Rx2xD, np.float64))
            found.setdefault(f"{parameter}_by_{axis}", {})[int(count)] = ratio
    return found


def terms(
    mu: jax.Array, b: jax.Array, a_DxD: jax.Array, x_NxD: jax.Array, eps_NxKxD: jax.Array
) -> Terms:
    """Of z ~ N(mu, I), x ~ N(z, I) and q(z | x) = N(A x + b, 2/3 I), with z told from mu."""
    mean_NxD = x_NxD @ a_DxD.T + b - mu
    log_std_NxD = jnp.full_like(mean_NxD, 0.5 * np.log(VARIANCE))
    z_NxKxD = mean_NxD[:, None] + np.sqrt(VARIANCE).astype(np.float32) * eps_NxKxD
    errors = jnp.sum((x_NxD[:, None] - mu - z_NxKxD) ** 2, axis=-1)
    return Terms(
        -0.5 * errors - 0.5 * DIMS * np.log(2 * np.pi),
        gaussian_log_ratio(z_NxKxD, eps_NxKxD, log_std_NxD),
        gaussian_kl(mean_NxD, log_std_NxD),
    )


def ratio_of(g_Rx2xD: np.ndarray) -> float:
    """||E g|| / sqrt(tr Var g) of mirrored pairs, 0 where the mean is lost in its own noise."""
    noise = g_Rx2xD.var(axis=0, ddof=1).mean(axis=0).sum()
    of_pairs_RxD = g_Rx2xD.mean(axis=1)
    own_noise = of_pairs_RxD.var(axis=0, ddof=1).sum() / len(of_pairs_RxD)
    signal = np.sum(of_pairs_RxD.mean(axis=0) ** 2) - own_noise
    return float(np.sqrt(max(signal, 0) / noise))


def measure(seed: int) -> Measurement:
    """Slopes of log ratio by log K and log M, and the ratios at both ends of what is fitted."""
    measured: dict[str, float] = {}
    for name, ratios in signal_to_noise(seed).items():
        counts = [n for n in SAMPLES if n >= LEAST]
        logs = np.log([ratios[n] for n in counts])
        measured[f"{name}_slope"] = float(np.polyfit(np.log(counts), logs, 1)[0])
        measured |= {f"{name}_{n}": ratios[n] for n in (1, LEAST, SAMPLES[-1])}
    return measured


CLAIMS = [
    Claim(
        id="tighter_bounds.signal_to_noise",
        statement="The signal-to-noise ratio of the generative gradient grows as sqrt(M K), that "
        "of the inference network's as sqrt(M / K).",
        source="theorem 1, figure 2",
        figure="slopes 1/2, 1/2, 1/2 and -1/2 [V]",
        figures={"inference_by_K_slope": -0.5, "generative_by_K_slope": 0.5},
        kind="exact",
        protocol=f"The paper's toy: D = {DIMS}, N = {COUNT}, z ~ N(mu, I), x ~ N(z, I), q = "
        f"N(A x + b, 2/3 I), parameters off their optimum by N(0, {OFFSET}^2); the whole data's "
        f"gradient in mu and b, {REPLICATES} mirrored pairs. Ratio of norms; log-log slopes "
        f"from {LEAST} to {SAMPLES[-1]} samples.",
        measure=measure,
        rules=[
            identity("generative_by_K_slope", 0.5, tolerance=0.1),
            identity("inference_by_K_slope", -0.5, tolerance=0.1),
            identity("generative_by_M_slope", 0.5, tolerance=0.1),
            identity("inference_by_M_slope", 0.5, tolerance=0.1),
        ],
        ours=["generative_by_K_slope", "inference_by_K_slope"],
        baseline=["generative_by_M_slope", "inference_by_M_slope"],
        settings={
            "dims": DIMS,
            "count": COUNT,
            "offset": OFFSET,
            "samples": SAMPLES,
            "least": LEAST,
            "replicates": REPLICATES,
        },
    ),
]
