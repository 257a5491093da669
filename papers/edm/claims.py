"""EDM's claims: the order of its solver, what that saves, and its preconditioning."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from papers.ledger import Claim
from papers.rules import Measurement, identity, ordered, violated
from research.methods.edm import EDM
from research.sampling import analytic, schedules
from research.sampling.heun import euler, heun

STEPS = (16, 32, 64, 128, 256, 512, 1024, 2048)
LEAST = 256  # steps from which the order is fitted: an order is a limit
REFERENCE_STEPS = 16384
ERROR = 1e-2
SIGMAS = (0.002, 0.05, 0.5, 5.0, 80.0)


@functools.cache
def errors(seed: int) -> dict[str, dict[int, float]]:
    """RMS errors at sigma_min of Euler's and Heun's points, by steps, in float64."""
    rng = np.random.default_rng(seed)
    with jax.enable_x64(True):
        means, noise = jnp.asarray(rng.normal(size=(2, 64, 2)))
        x = 80 * noise
        denoise = analytic.mixture(jnp.full(5, 0.2), means[:5], 0.3, analytic.at_sigma)

        def solve(method: str, steps: int) -> np.ndarray:
            # The step to sigma = 0 is Euler's in both, and more steps do not shorten it.
            schedule = schedules.exploding(schedules.karras(steps + 1).sigma[1:])
            if method == "euler":
                return np.asarray(euler(denoise, x, schedule))
            return np.asarray(heun(denoise, x, schedule, jax.random.key(seed)))

        exact = solve("heun", REFERENCE_STEPS)
        return {
            method: {n: float(np.sqrt(np.mean((solve(method, n) - exact) ** 2))) for n in STEPS}
            for method in ("euler", "heun")
        }


def measure_order(seed: int) -> Measurement:
    """Minus the slope of log error by log steps, from `LEAST` steps on."""
    steps = [n for n in STEPS if n >= LEAST]
    slopes = {
        method: -np.polyfit(np.log(steps), np.log([found[n] for n in steps]), 1)[0]
        for method, found in errors(seed).items()
    }
    return {"euler_order": slopes["euler"], "heun_order": slopes["heun"]}


def measure_calls(seed: int) -> Measurement:
    """Network calls until the error is `ERROR`, log steps interpolated by log error."""
    calls = {}
    for method, per_step in (("euler", 1), ("heun", 2)):
        digits = -np.log([errors(seed)[method][n] for n in STEPS])
        calls[f"{method}_calls"] = per_step * np.exp(
            np.interp(-np.log(ERROR), digits, np.log(STEPS))
        )
    return calls


def measure_preconditioning(seed: int) -> Measurement:
    """How far the variances of the network's input and target, and the loss of a network of no
    output, are from 1: the worst sigma's."""
    rng = np.random.default_rng(seed)
    given: dict[str, Any] = dict(optimizer=optax.identity(), image_shape=(8, 8, 1), levels=256)
    sigma_data = EDM(network=_Stub(), **given).sigma_data
    x0 = (sigma_data * rng.normal(size=(4000, 8, 8, 1))).astype(np.float32)
    noise = rng.normal(size=x0.shape).astype(np.float32)
    of_input, of_target, of_loss, raw = [], [], [], []
    for sigma in SIGMAS:
        edm = EDM(network=_Stub(), p_mean=float(np.log(sigma)), p_std=0.0, **given)
        x = jnp.asarray(x0 + sigma * noise)
        # A network of no output gives the skip; the constant 1 and its input reveal the scales.
        skip, constant, own = (
            np.asarray(edm.precondition(kind, x, jnp.full(len(x), sigma), None))
            for kind in ("zero", "one", "input")
        )
        c_out = float(np.mean(constant - skip))
        of_input.append(abs(np.var((own - skip) / c_out) - 1))
        of_target.append(abs(np.var((x0 - skip) / c_out) - 1))
        key = jax.random.key(seed)
        losses = edm.denoising_error("zero", jnp.asarray(x0), None, key, train=True)
        of_loss.append(abs(np.mean(losses) - 1))
        raw.append(abs(np.var(x) - 1))
    return {
        "input_variance_error": max(of_input),
        "target_variance_error": max(of_target),
        "loss_error": max(of_loss),
        "plain_input_variance_error": max(raw),
    }


class _Stub:
    """A network whose parameters say what it returns: zeros, ones or its input."""

    def apply(self, variables, x, t, labels, *, train, rngs):
        return {"zero": jnp.zeros_like(x), "one": jnp.ones_like(x), "input": x}[variables["params"]]


PROTOCOL = (
    "Exact denoiser of a mixture of five Gaussians in the plane, sigma 80 to 0.002, rho 7, "
    f"stopped at sigma_min; RMS error of 64 points against {REFERENCE_STEPS} steps."
)
SETTINGS = {"steps": STEPS, "least": LEAST, "reference": REFERENCE_STEPS}
CLAIMS = [
    Claim(
        id="edm.order",
        statement="Euler's method is of first order, Heun's of second.",
        source="section 3, algorithm 1",
        figure="orders 1 and 2 [M]",
        figures={"euler_order": 1, "heun_order": 2},
        kind="exact",
        protocol=PROTOCOL
        + f" Minus the slope of log error by log steps, {LEAST} to {STEPS[-1]} steps.",
        measure=measure_order,
        rules=[
            identity("heun_order", 2, tolerance=0.1),
            identity("euler_order", 1, tolerance=0.1),
        ],
        seeds=5,
        ours=["heun_order"],
        baseline=["euler_order"],
        settings=SETTINGS,
    ),
    Claim(
        id="edm.calls",
        statement="At equal error Heun's method needs fewer network calls than Euler's.",
        source="section 3, figure 2",
        figure="shown in curves, no number [M]",
        kind="direction",
        protocol=PROTOCOL + f" Calls at error {ERROR:g}, interpolated.",
        measure=measure_calls,
        rules=[ordered("heun_calls", "euler_calls")],
        seeds=5,
        ours=["heun_calls"],
        baseline=["euler_calls"],
        settings=SETTINGS | {"error": ERROR},
    ),
    Claim(
        id="edm.preconditioning",
        statement="The network's input and its training target have unit variance at every sigma, "
        "and the loss of a network of no output is 1.",
        source="section 5, table 1, appendix B.6",
        figure="identity, variance 1 [M]",
        figures={"variance": 1},
        kind="exact",
        protocol=f"256,000 Gaussian pixels of deviation sigma_data at sigma {SIGMAS}; the scales "
        "are read off `EDM.precondition` with three stub networks, the loss is "
        "`EDM.denoising_error`. Standard error 0.003.",
        measure=measure_preconditioning,
        rules=[
            identity("input_variance_error", 0, tolerance=0.02),
            identity("target_variance_error", 0, tolerance=0.02),
            identity("loss_error", 0, tolerance=0.02),
            violated("plain_input_variance_error", least=1),
        ],
        seeds=5,
        ours=["input_variance_error", "target_variance_error", "loss_error"],
        baseline=["plain_input_variance_error"],
        settings={"sigmas": SIGMAS},
        version=2,
    ),
    Claim(
        id="edm.cifar10",
        statement="35 network calls reach FID 1.97 (without classes) and 1.79 (with) on CIFAR-10.",
        source="abstract, table 2",
        figure="FID 1.97 and 1.79 [V]",
        figures={"unconditional_fid": 1.97, "conditional_fid": 1.79},
        kind="accelerator",
        protocol="The paper's training, 18 steps of Heun's method, 50,000 samples.",
        not_run="its training takes days of accelerators; CIFAR-10 and Inception's weights are "
        "downloads",
    ),
]
