"""DDPM's claims: the forward process, the bound and its gradient, sample quality."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from papers.ledger import Claim
from papers.rules import Measurement, identity, violated
from research.methods.diffusion_losses import squared_error
from research.methods.variational_bound import bound_term, noised
from research.sampling.ancestral import posterior
from research.sampling.denoisers import Prediction, to_x0
from research.sampling.schedules import linear

BETAS = np.linspace(
    1e-4, 0.02, 1000
)  # section 4, written out here so that ours is tested against it
TIMES = (2, 3, 10, 100, 500, 999)


def measure_posterior(seed: int) -> Measurement:
    """Bayes' rule on a grid against `posterior`: relative errors of mean and variance."""
    rng = np.random.default_rng(seed)
    alpha_bar = np.concatenate([[1.0], np.cumprod(1 - BETAS)])
    ours = posterior(linear(1000))
    mean_errors, variance_errors, errors_of_beta = [], [], []
    for t in TIMES:
        x0, beta = rng.uniform(-1, 1), BETAS[t - 1]
        x_t = math.sqrt(alpha_bar[t]) * x0 + math.sqrt(1 - alpha_bar[t]) * rng.normal()
        prior_mean, prior_std = math.sqrt(alpha_bar[t - 1]) * x0, math.sqrt(1 - alpha_bar[t - 1])
        x_s = prior_mean + prior_std * np.linspace(-12, 12, 400_001)
        log_prior = -((x_s - prior_mean) ** 2) / (2 * prior_std**2)
        log_likelihood = -((x_t - math.sqrt(1 - beta) * x_s) ** 2) / (2 * beta)
        weight = np.exp(log_prior + log_likelihood - np.max(log_prior + log_likelihood))
        mean = np.sum(weight * x_s) / np.sum(weight)
        variance = np.sum(weight * (x_s - mean) ** 2) / np.sum(weight)
        i = len(ours.t) - t
        our_mean = ours.weight_x[i] * x_t + ours.weight_x0[i] * x0
        mean_errors.append(abs(our_mean - mean) / math.sqrt(variance))
        variance_errors.append(abs(np.exp(ours.log_beta_tilde[i]) / variance - 1))
        errors_of_beta.append(abs(beta / variance - 1))
    return {
        "mean_error": max(mean_errors),
        "variance_error": max(variance_errors),
        "variance_error_of_beta": max(errors_of_beta),
    }


def measure_two_variances(seed: int) -> Measurement:
    """Var(x_s | x_t) of Gaussian data against the two variances, at the ends and between."""
    rng = np.random.default_rng(seed)
    schedule = linear(1000)
    ours = posterior(schedule)
    of_beta, of_beta_tilde, outside = [], [], []
    for t in (*TIMES, *rng.integers(2, 1001, size=20)):
        i = len(ours.t) - t
        beta, beta_tilde = np.exp(ours.log_beta[i]), np.exp(ours.log_beta_tilde[i])
        of_beta.append(abs(beta / reverse_variance(t, 1.0) - 1))
        of_beta_tilde.append(abs(beta_tilde / reverse_variance(t, 0.0) - 1))
        between = reverse_variance(t, rng.uniform(0.05, 0.95))
        outside.append(max(beta_tilde / between - 1, between / beta - 1, 0.0))
    return {
        "unit_gaussian_error_of_beta": max(of_beta),
        "one_point_error_of_beta_tilde": max(of_beta_tilde),
        "excess_between": max(outside),
        "one_point_error_of_beta": abs(BETAS[1] / reverse_variance(2, 0.0) - 1),
    }


def reverse_variance(t: int, data_variance: float) -> float:
    """Var(x_{t-1} | x_t) for x_0 ~ N(0, data_variance), by conditioning their joint Gaussian."""
    alpha_bar = np.concatenate([[1.0], np.cumprod(1 - BETAS)])
    var_s = alpha_bar[t - 1] * data_variance + 1 - alpha_bar[t - 1]
    beta = BETAS[t - 1]
    return var_s - (1 - beta) * var_s**2 / ((1 - beta) * var_s + beta)


def measure_simple_gradient(seed: int) -> Measurement:
    """The gradients in eps_theta of the bound's terms and of L_simple, against eq. 12's weight."""
    schedule = linear(1000)
    keys = jax.random.split(jax.random.key(seed), 3)
    t = jnp.concatenate([jnp.array(TIMES), jax.random.randint(keys[0], (58,), 2, 1001)])
    x0 = jax.random.uniform(keys[1], (len(t), 8), minval=-1, maxval=1)
    eps, guess = jax.random.normal(keys[2], (2, len(t), 8))
    x = noised(schedule, x0, t, eps)
    alpha, sigma = (jnp.asarray(v)[t][:, None] for v in (schedule.alpha, schedule.sigma))

    def bound(guess):
        prediction = Prediction(to_x0("eps", guess, x, alpha, sigma))
        return bound_term(schedule, prediction, x0, x, t, levels=256, variance="beta").sum()

    def simple(guess):
        return squared_error("eps", guess, schedule, x0, eps, t).sum()

    alpha_bar = np.cumprod(1 - BETAS)
    # eq. 12 with sigma_t^2 = beta_t, in bits
    weight = BETAS / (2 * (1 - BETAS) * (1 - alpha_bar)) / math.log(2)
    weight_B = weight[np.asarray(t) - 1][:, None]
    of_bound, of_simple = (np.asarray(jax.grad(f)(guess)) for f in (bound, simple))
    size = np.linalg.norm(of_bound, axis=1)
    unweighted = of_simple * np.mean(weight)
    return {
        "weighted_error": _worst(of_bound - weight_B * of_simple, size),
        "unweighted_error": _worst(of_bound - unweighted, size),
    }


def _worst(difference: np.ndarray, size: np.ndarray) -> float:
    return float(np.max(np.linalg.norm(difference, axis=1) / size))


CLAIMS = [
    Claim(
        id="ddpm.posterior",
        statement="q(x_{t-1} | x_t, x_0) is Gaussian with the mean and variance of eq. 7.",
        source="section 2, eq. 6-7",
        figure="identity, error 0 [M]",
        figures={"mean_error": 0, "variance_error": 0},
        kind="exact",
        protocol="Linear betas, T = 1000; Bayes' rule by quadrature at six t, random x_0 and x_t.",
        measure=measure_posterior,
        rules=[
            identity("mean_error", 0, tolerance=1e-6),
            identity("variance_error", 0, tolerance=1e-6),
        ],
        seeds=5,
        ours=["mean_error", "variance_error"],
        baseline=["variance_error_of_beta"],
        settings={"times": TIMES},
    ),
    Claim(
        id="ddpm.two_variances",
        statement="sigma_t^2 = beta_t is optimal for x_0 ~ N(0, I), beta-tilde_t for one point; "
        "they bound the variance in between.",
        source="section 3.2",
        figure="identity, error 0 [M]",
        figures={"unit_gaussian_error_of_beta": 0, "one_point_error_of_beta_tilde": 0},
        kind="exact",
        protocol="Var(x_{t-1} | x_t) of Gaussian data of variance 1, 0 and in between, "
        "by conditioning the joint Gaussian, at 26 t.",
        measure=measure_two_variances,
        rules=[
            identity("unit_gaussian_error_of_beta", 0, tolerance=1e-6),
            identity("one_point_error_of_beta_tilde", 0, tolerance=1e-6),
            identity("excess_between", 0, tolerance=1e-6),
        ],
        seeds=5,
        ours=["unit_gaussian_error_of_beta", "one_point_error_of_beta_tilde", "excess_between"],
        baseline=["one_point_error_of_beta"],
        settings={"times": TIMES},
    ),
    Claim(
        id="ddpm.simple_gradient",
        statement="The bound's terms are L_simple's squared errors, weighted by eq. 12.",
        source="section 3.2 and 3.4, eq. 12 and 14",
        figure="identity, error 0 [M]",
        figures={"weighted_error": 0},
        kind="exact",
        protocol="Gradients in eps_theta at 64 t >= 2, sigma_t^2 = beta_t, float32; relative.",
        measure=measure_simple_gradient,
        rules=[
            identity("weighted_error", 0, tolerance=1e-3),
            violated("unweighted_error", least=0.1),
        ],
        seeds=5,
        ours=["weighted_error"],
        baseline=["unweighted_error"],
        settings={"times": TIMES},
    ),
    Claim(
        id="ddpm.cifar10",
        statement="Unconditional CIFAR-10 samples reach FID 3.17.",
        source="table 1",
        figure="FID 3.17 [V]",
        figures={"fid": 3.17},
        kind="accelerator",
        protocol="configs/ddpm.py:cifar10, 800k steps, 50,000 samples of 1000 steps.",
        not_run="800k steps of a 35M-parameter UNet need an accelerator, CIFAR-10 a download, and "
        "an FID Inception's weights; none is here",
    ),
]
