"""The GAN's claims: its optimal discriminator, the value there, and the non-saturating loss."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from papers.ledger import Claim
from papers.rules import Measurement, identity, violated
from research.methods.gan_losses import non_saturating, saturating

OUTCOMES, NEWTON_STEPS = 16, 30
SURE = (-10, -5)  # between them is a fake's logit by a discriminator that is ahead

Shares = Float[Array, " K"]


def value(logits_K: Array, p_K: Array, q_K: Array) -> Array:
    """V(D, G) of eq. 1: minus the discriminator's expected loss, data p against generator q."""
    players = saturating()
    return -jnp.sum(p_K * players.real(logits_K) + q_K * players.fake(logits_K))


def optimal_logits(p_K: Array, q_K: Array) -> Array:
    """The logits of the highest value, by Newton's method: it is concave, outcome by outcome."""

    def ascend(logits_K: Array, _: None) -> tuple[Array, None]:
        slope_K = jax.grad(value)(logits_K, p_K, q_K)
        curvature_K = jnp.diag(jax.hessian(value)(logits_K, p_K, q_K))
        return logits_K - jnp.clip(slope_K / curvature_K, -1, 1), None

    return jax.lax.scan(ascend, jnp.zeros_like(p_K), None, NEWTON_STEPS)[0]


def distributions(seed: int) -> tuple[Shares, Shares]:
    """Two distributions over `OUTCOMES` outcomes."""
    p_K, q_K = np.random.default_rng(seed).dirichlet(np.ones(OUTCOMES), 2)
    return jnp.asarray(p_K), jnp.asarray(q_K)


def jensen_shannon(p_K: Shares, q_K: Shares) -> float:
    """In nats, from its definition."""
    middle_K = (p_K + q_K) / 2
    terms = [jnp.sum(r_K * jnp.log(r_K / middle_K)) / 2 for r_K in (p_K, q_K)]
    return float(terms[0] + terms[1])


def measure_optimum(seed: int) -> Measurement:
    """How far the best discriminator is from p / (p + q), and its value from -log 4 + 2 JSD."""
    with jax.enable_x64(True):
        p_K, q_K = distributions(seed)
        logits_K = optimal_logits(p_K, q_K)
        expected_K = p_K / (p_K + q_K)
        optimum = -np.log(4) + 2 * jensen_shannon(p_K, q_K)
        return {
            "discriminator_error": float(jnp.abs(jax.nn.sigmoid(logits_K) - expected_K).max()),
            "value_error": abs(float(value(logits_K, p_K, q_K)) - optimum),
            "chance_discriminator_error": float(jnp.abs(0.5 - expected_K).max()),
            "chance_value_error": abs(float(value(jnp.zeros(OUTCOMES), p_K, q_K)) - optimum),
        }


def measure_non_saturating(seed: int) -> Measurement:
    """The generator's slopes where the discriminator is sure, and where each leads it.

    `progress` is by how much KL(data, generator) falls a unit of the natural gradient's time,
    E_q c - E_p c for a cost c of an outcome against the best discriminator: it is 0 at q = p, the
    fixed point, and elsewhere above 0 for every cost that falls with the logit.
    """
    with jax.enable_x64(True):
        p_K, q_K = distributions(seed)
        sure = np.random.default_rng(seed).uniform(*SURE)
        logits_K = optimal_logits(p_K, q_K)
        losses = {"saturating": saturating(), "non_saturating": non_saturating()}
        slopes = {name: -float(jax.grad(loss.generator)(sure)) for name, loss in losses.items()}
        progress = {
            name: float(jnp.sum((q_K - p_K) * loss.generator(logits_K)))
            for name, loss in losses.items()
        }
        return {
            # Over (1 - D) / D, which is exp of minus the logit.
            "gain": slopes["non_saturating"] / slopes["saturating"] * float(np.exp(sure)),
            "non_saturating_slope": slopes["non_saturating"],
            "saturating_slope": slopes["saturating"],
            "non_saturating_progress": progress["non_saturating"],
            "saturating_progress": progress["saturating"],
        }


CLAIMS = [
    Claim(
        id="gan.optimum",
        statement="The optimal discriminator is p / (p + q), and its value -log 4 + 2 JSD(p, q).",
        source="proposition 1, theorem 1",
        figure="identity, difference 0 [M]",
        figures={"discriminator_error": 0, "value_error": 0},
        kind="exact",
        protocol=f"Two Dirichlet distributions over {OUTCOMES} outcomes, float64; `gan_losses` "
        f"maximised by {NEWTON_STEPS} Newton steps. Baseline: a discriminator that says 1/2.",
        measure=measure_optimum,
        rules=[
            identity("discriminator_error", 0, tolerance=1e-9),
            identity("value_error", 0, tolerance=1e-9),
            violated("chance_value_error", least=0.01),
        ],
        seeds=5,
        ours=["discriminator_error", "value_error"],
        baseline=["chance_discriminator_error", "chance_value_error"],
        settings={"outcomes": OUTCOMES, "steps": NEWTON_STEPS},
    ),
    Claim(
        id="gan.non_saturating",
        statement="Maximising log D has the same fixed point as minimising log(1 - D), with much "
        "stronger gradients early, where the discriminator is sure.",
        source="section 3",
        figure="the slopes' ratio is (1 - D) / D [M]",
        figures={"gain": 1},
        kind="exact",
        protocol=f"Slopes of both losses at a logit drawn of {SURE}, their ratio over (1 - D) / D; "
        f"and two Dirichlet distributions over {OUTCOMES} outcomes, by how much each loss, against "
        "the optimal discriminator, leads one towards the other: nothing at q = p alone; float64.",
        measure=measure_non_saturating,
        rules=[
            identity("gain", 1, tolerance=1e-9),
            violated("non_saturating_slope", least=0.99),
            violated("non_saturating_progress", least=0.01),
            violated("saturating_progress", least=0.01),
        ],
        seeds=5,
        ours=["gain", "non_saturating_slope", "non_saturating_progress", "saturating_progress"],
        baseline=["saturating_slope"],
        settings={"outcomes": OUTCOMES, "sure": SURE},
    ),
]
