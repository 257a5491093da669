"""The VAE's claims: what its bound leaves out, its closed-form KL, and its gradient's variance."""

import jax
import jax.numpy as jnp
import numpy as np

from papers import linear_gaussian
from papers.ledger import Claim
from papers.rules import Measurement, identity, ordered, violated
from research.methods.importance_bounds import Terms, analytic_elbo, log_weights

SAMPLES = 100_000


def measure_bound(seed: int) -> Measurement:
    """log p(x) - ELBO against KL(q || posterior), in nats, the worst of the data."""
    with jax.enable_x64(True):
        model = linear_gaussian.model(seed)
        points = linear_gaussian.sigma_points(linear_gaussian.COUNT)
        elbo_B = np.asarray(analytic_elbo(model.vae.terms(model.params, model.x, points)))
    gap_B = model.log_p_B - elbo_B
    return {
        "error_of_gap": float(abs(gap_B - model.gap_B).max()),
        "smallest_gap": float(gap_B.min()),
    }


def measure_kl(seed: int) -> Measurement:
    """The closed KL(q || prior) against the log ratio's expectation, and against one sample's."""
    with jax.enable_x64(True):
        model = linear_gaussian.model(seed)

        def error(eps: jax.Array) -> float:
            terms = model.vae.terms(model.params, model.x, eps)
            return float(abs(terms.kl_B - terms.log_ratio_BxK.mean(axis=1)).max())

        return {
            "error": error(linear_gaussian.sigma_points(linear_gaussian.COUNT)),
            "error_of_one_sample": error(linear_gaussian.normal(jax.random.key(seed), 1)),
        }


def measure_gradient(seed: int) -> Measurement:
    """Two estimators of the ELBO's gradient in q's means and log deviations, by `SAMPLES` draws.

    `bias` is the worst distance of an estimator's mean from the exact gradient, in standard
    errors; `variance` the sum over the gradient's entries of one sample's variances.
    """
    with jax.enable_x64(True):
        model = linear_gaussian.model(seed)
        posterior = model.vae.encoder.apply({"params": model.params["encoder"]}, model.x)

        def terms(posterior: tuple, eps: jax.Array) -> Terms:
            return model.vae.terms(model.params, model.x, eps, posterior)

        def elbo(posterior: tuple, eps: jax.Array) -> jax.Array:
            return jnp.sum(log_weights(terms(posterior, eps)).mean(axis=1))

        def score(posterior: tuple, eps: jax.Array) -> tuple:
            """log q(z)'s gradient at a fixed z = mean + std eps, times what is averaged."""
            value = log_weights(terms(posterior, eps))[..., None]
            slope = eps / jnp.exp(posterior[1])[:, None]
            return (value * slope)[:, 0], (value * (eps**2 - 1))[:, 0]

        exact = jax.grad(elbo)(posterior, linear_gaussian.sigma_points(linear_gaussian.COUNT))
        draws = linear_gaussian.normal(jax.random.key(seed), SAMPLES)
        draws_SxBx1xL = jnp.swapaxes(draws, 0, 1)[:, :, None]
        found: dict[str, float] = {}
        for name, gradient in (("reparameterised", jax.grad(elbo)), ("score_function", score)):
            each = jax.jit(jax.vmap(gradient, in_axes=(None, 0)))(posterior, draws_SxBx1xL)
            means, variances = (
                np.stack([f(leaf, axis=0) for leaf in each]) for f in (np.mean, np.var)
            )
            errors = abs(means - np.stack(exact)) / np.sqrt(variances / SAMPLES)
            found |= {f"{name}_bias": errors.max(), f"{name}_variance": variances.sum()}
        return found


PROTOCOL = (
    f"{linear_gaussian.COUNT} data of a linear-Gaussian model, {linear_gaussian.PIXELS} pixels and "
    f"{linear_gaussian.LATENT} latents drawn by seed, q near the posterior; float64. "
)
SIGMA_POINTS = "Expectations of quadratics are exact, by sigma points. "
SHAPE = {
    "pixels": linear_gaussian.PIXELS,
    "latent": linear_gaussian.LATENT,
    "count": linear_gaussian.COUNT,
}
CLAIMS = [
    Claim(
        id="vae.bound",
        statement="log p(x) is the ELBO plus KL(q(z|x) || p(z|x)), so the ELBO is a lower bound.",
        source="section 2.2, eq. 1",
        figure="identity, difference 0 [M]",
        figures={"error_of_gap": 0},
        kind="exact",
        protocol=PROTOCOL + SIGMA_POINTS + "`VAE.terms` against the closed form; the worst of the "
        "data.",
        measure=measure_bound,
        rules=[
            identity("error_of_gap", 0, tolerance=1e-8),
            violated("smallest_gap", least=0.01),
        ],
        seeds=5,
        ours=["error_of_gap"],
        baseline=["smallest_gap"],
        settings=SHAPE,
    ),
    Claim(
        id="vae.kl",
        statement="The KL of a Gaussian posterior from the prior has a closed form.",
        source="appendix B",
        figure="identity, difference 0 [M]",
        figures={"error": 0},
        kind="exact",
        protocol=PROTOCOL + SIGMA_POINTS + "The closed form against the expectation of "
        "log q(z|x) - log p(z), and against one sample of it.",
        measure=measure_kl,
        rules=[
            identity("error", 0, tolerance=1e-8),
            violated("error_of_one_sample", least=0.1),
        ],
        seeds=5,
        ours=["error"],
        baseline=["error_of_one_sample"],
        settings=SHAPE,
    ),
    Claim(
        id="vae.reparameterisation",
        statement="The reparameterised gradient is unbiased, as the score function's is, whose "
        "variance is far higher.",
        source="section 2.2 and 2.3",
        figure="said in words, no number [M]",
        kind="direction",
        protocol=PROTOCOL + f"Gradients of the ELBO in q's means and log deviations, {SAMPLES:,} "
        "single samples each; bias in standard errors of the mean, variance summed over entries.",
        measure=measure_gradient,
        rules=[
            identity("reparameterised_bias", 0, tolerance=4.5),
            identity("score_function_bias", 0, tolerance=4.5),
            ordered("reparameterised_variance", "score_function_variance"),
        ],
        seeds=5,
        ours=["reparameterised_variance"],
        baseline=["score_function_variance"],
        settings=SHAPE | {"samples": SAMPLES},
    ),
]
