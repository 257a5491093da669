"""Solvers against closed forms: the flow and the law of a Gaussian, orders on a mixture."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.errors import InputError
from research.sampling import analytic
from research.sampling.ancestral import ancestral
from research.sampling.ddim import ddim
from research.sampling.denoisers import Prediction, clipped
from research.sampling.dpm_solver import dpm_solver_2m
from research.sampling.guidance import guided
from research.sampling.heun import euler, heun
from research.sampling.inpainting import repaint
from research.sampling.schedules import Schedule, cosine, exploding, karras, linear, respaced

KEY = jax.random.key(0)
MEAN = jnp.array([0.5, -0.3])
COVARIANCE = jnp.array([[0.4, 0.25], [0.25, 0.3]])

DETERMINISTIC = {
    "ddim": lambda denoise, x, schedule: ddim(denoise, x, schedule, KEY),
    "euler": euler,
    "heun": lambda denoise, x, schedule: heun(denoise, x, schedule, KEY),
    "dpm_solver_2m": dpm_solver_2m,
}


@pytest.mark.parametrize(
    ("solver", "tolerance"),
    [("ddim", 0.02), ("euler", 0.02), ("heun", 0.002), ("dpm_solver_2m", 0.002)],
)
@pytest.mark.parametrize("name", ["linear", "karras"])
def test_deterministic_solvers_follow_the_exact_flow_of_a_gaussian(solver, tolerance, name):
    if name == "karras":
        schedule, level = karras(200), analytic.at_sigma
    else:
        schedule, level = respaced(linear(1000), 400), analytic.at_index(linear(1000))
    # Stopped one level short of clean data, where the solvers' last steps differ by design.
    schedule = Schedule(*(values[1:] for values in schedule))
    x = schedule.sigma[-1] * jax.random.normal(KEY, (32, 2))
    denoise = analytic.gaussian(MEAN, COVARIANCE, level)
    drawn = jax.jit(lambda x: DETERMINISTIC[solver](denoise, x, schedule))(x)
    exact = analytic.gaussian_flow(x, MEAN, COVARIANCE, schedule)
    np.testing.assert_allclose(drawn, exact, atol=tolerance)


@pytest.mark.parametrize(
    "solver",
    [
        functools.partial(ancestral, variance="beta_tilde"),
        functools.partial(ancestral, variance="beta"),
        functools.partial(ddim, eta=1.0),
        functools.partial(ddim, eta=0.5),
    ],
)
def test_stochastic_solvers_reach_the_law_of_a_gaussian(solver):
    schedule = cosine(500)
    denoise = analytic.gaussian(MEAN, COVARIANCE, analytic.at_index(schedule))
    x = jax.random.normal(KEY, (20_000, 2))
    drawn = np.asarray(jax.jit(lambda x: solver(denoise, x, schedule, KEY))(x))
    np.testing.assert_allclose(drawn.mean(0), MEAN, atol=0.02)
    np.testing.assert_allclose(np.cov(drawn.T), COVARIANCE, atol=0.02)


def test_churned_heun_reaches_the_law_of_a_gaussian():
    denoise = analytic.gaussian(MEAN, COVARIANCE, analytic.at_sigma)
    x = 80 * jax.random.normal(KEY, (20_000, 2))
    drawn = np.asarray(jax.jit(lambda x: heun(denoise, x, karras(80), KEY, churn=20.0))(x))
    unchurned = heun(denoise, x, karras(80), KEY)
    assert np.abs(drawn - unchurned).mean() > 0.1
    np.testing.assert_allclose(drawn.mean(0), MEAN, atol=0.02)
    np.testing.assert_allclose(np.cov(drawn.T), COVARIANCE, atol=0.02)


def test_churn_needs_t_to_be_sigma():
    with pytest.raises(ValueError, match="t is sigma"):
        heun(lambda x, t: Prediction(x), jnp.ones((1, 2)), cosine(10), KEY, churn=1.0)


@pytest.mark.parametrize("eta", [-0.1, 1.5])
def test_ddim_takes_no_noise_that_a_level_does_not_hold(eta):
    with pytest.raises(InputError, match=f"eta={eta:g} must lie in 0..1"):
        ddim(lambda x, t: Prediction(x), jnp.ones((1, 2)), cosine(10), KEY, eta=eta)


def test_ddim_eta_1_is_ancestral_with_beta_tilde():
    """The same noise, so the same draw (2010.02502, section 4.1), on respaced levels too."""
    schedule = respaced(cosine(100), 10)
    denoise = analytic.gaussian(MEAN, COVARIANCE, analytic.at_index(cosine(100)))
    x = jax.random.normal(KEY, (8, 2))
    markov = ancestral(denoise, x, schedule, KEY, variance="beta_tilde")
    np.testing.assert_allclose(ddim(denoise, x, schedule, KEY, eta=1.0), markov, atol=1e-4)


@pytest.mark.parametrize(
    ("solver", "order"), [("euler", 1), ("heun", 2), ("dpm_solver_2m", 2), ("ddim", 1)]
)
def test_order_on_a_mixture(solver, order):
    """The slope of log error over log steps (2206.00364, figure 13; 2211.01095, section 5)."""

    def schedule(steps):
        return exploding(np.linspace(0.02 ** (1 / 7), 20 ** (1 / 7), steps + 1) ** 7)

    with jax.enable_x64(True):
        means = jnp.array([[-1.0, 0.5], [1.0, 0.0], [0.0, -1.0]])
        weights = jnp.array([0.3, 0.5, 0.2])
        denoise = analytic.mixture(weights, means, 0.3, analytic.at_sigma)
        x = 20 * jax.random.normal(KEY, (16, 2))
        exact = heun(denoise, x, schedule(4096), KEY)
        steps = np.array([64, 128, 256, 512])
        drawn = [DETERMINISTIC[solver](denoise, x, schedule(n)) for n in steps]
        errors = [float(jnp.sqrt(jnp.mean((d - exact) ** 2))) for d in drawn]
    slope = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert slope == pytest.approx(order, abs=0.15)


def test_2m_extrapolates_by_the_ratio_of_uneven_steps():
    """Three steps of h = 1, 3 and 2 in lambda, by hand, with x_0 told to be lambda."""
    half_log_snr = np.array([3.0, 1.0, -2.0, -3.0])
    alpha_bar = 1 / (1 + np.exp(-2 * half_log_snr))
    schedule = Schedule(half_log_snr, np.sqrt(alpha_bar), np.sqrt(1 - alpha_bar))
    drawn = dpm_solver_2m(lambda x, t: Prediction(t * jnp.ones_like(x)), jnp.ones((1, 1)), schedule)
    x, (alpha, sigma) = 1.0, (schedule.alpha, schedule.sigma)
    # D_i = x_0 + (x_0 - x_0 before) / 2r, with r = 1/3 and then 3/2.
    for i, h, extrapolated in [(2, 1, -3), (1, 3, -2 + 1 * 3 / 2), (0, 2, 1 + 3 * 2 / 6)]:
        x = sigma[i] / sigma[i + 1] * x - alpha[i] * np.expm1(-h) * extrapolated
    np.testing.assert_allclose(drawn, x, rtol=1e-5)


def test_euler_is_ddim():
    """2010.02502 eq. 14: DDIM at eta 0 is Euler's method in sigma / alpha."""
    schedule = respaced(linear(100), 10)
    denoise = analytic.gaussian(MEAN, COVARIANCE, analytic.at_index(linear(100)))
    x = jax.random.normal(KEY, (8, 2))
    np.testing.assert_allclose(
        euler(denoise, x, schedule), ddim(denoise, x, schedule, KEY), atol=1e-4
    )


def test_learned_variance_lies_between_the_fixed_ones():
    schedule = cosine(20)
    exact = analytic.gaussian(MEAN, COVARIANCE, analytic.at_index(schedule))

    def with_fraction(value):
        return lambda x, t: exact(x, t)._replace(variance_fraction=jnp.full(x.shape, value))

    x = jax.random.normal(KEY, (4, 2))
    for fraction, variance in [(0.0, "beta_tilde"), (1.0, "beta")]:
        learned = ancestral(with_fraction(fraction), x, schedule, KEY, variance="learned")
        fixed = ancestral(exact, x, schedule, KEY, variance=variance)
        np.testing.assert_allclose(learned, fixed, atol=1e-5)


@pytest.mark.parametrize(("guidance", "expected"), [(0.0, 1.0), (-1.0, -2.0), (2.0, 7.0)])
def test_guidance_scale(guidance, expected):
    """w = 0 is the conditional (here 1), w = -1 the unconditional (-2), w = 2 beyond both."""
    denoise = guided(
        lambda x, t: Prediction(jnp.full_like(x, 1.0), jnp.full_like(x, 0.3)),
        lambda x, t: Prediction(jnp.full_like(x, -2.0)),
        guidance,
    )
    prediction = denoise(jnp.zeros((2, 3)), jnp.zeros(()))
    np.testing.assert_allclose(prediction.x0, expected)
    np.testing.assert_allclose(prediction.variance_fraction, 0.3)


def test_clipped_clips_x0_only():
    prediction = clipped(lambda x, t: Prediction(3 * x))(jnp.array([[-1.0, 0.2]]), jnp.zeros(()))
    np.testing.assert_allclose(prediction.x0, [[-1.0, 0.6]], rtol=1e-6)


def test_repaint_nears_the_exact_conditional_of_a_gaussian():
    """x_2 given x_1 = 1 is N(rho, 1 - rho^2); without resampling the parts disagree."""
    rho, schedule = 0.8, cosine(250)
    covariance = jnp.array([[1.0, rho], [rho, 1.0]])
    denoise = analytic.gaussian(jnp.zeros(2), covariance, analytic.at_index(schedule))
    x = jax.random.normal(KEY, (4000, 2))
    known, mask = jnp.ones((4000, 2)), jnp.array([1.0, 0.0])

    def draw(resamples):
        solve = functools.partial(repaint, known=known, mask=mask, variance="beta")
        return np.asarray(
            jax.jit(lambda x: solve(denoise, x, schedule, KEY, resamples=resamples))(x)
        )

    once, often = draw(1), draw(10)
    np.testing.assert_allclose(often[:, 0], 1, atol=1e-6)
    assert often[:, 1].mean() == pytest.approx(rho, abs=0.04)
    assert often[:, 1].std() == pytest.approx(np.sqrt(1 - rho**2), abs=0.04)
    assert abs(once[:, 1].mean() - rho) > 5 * abs(often[:, 1].mean() - rho)
    with pytest.raises(InputError, match="resamples is 0; 1 is the least"):
        draw(0)
