"""DDIM's claims: what eta does, few steps, and images that keep their x_T."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from papers import digits, samples
from papers import trained as models
from papers.ledger import Claim
from papers.rules import Measurement, identity, ordered, violated
from research.experiment import Experiment
from research.run import plain
from research.sampling import analytic, schedules
from research.sampling.ancestral import ancestral
from research.sampling.ddim import ddim
from research.sampling.heun import euler
from research.training.state import TrainState

COUNT = 360
STEPS = (5, 10, 20, 50, 100)
MNIST = "configs/ddpm.py:mnist"
MNIST_COUNT, MNIST_STEPS = 500, (10, 20, 100)
STD = 0.3  # of each of a mixture's five Gaussians
T = 1000
ODE_STEPS = 20
KEPT, KEPT_STEPS = 200, (20, 100)


def measure_eta_one(seed: int) -> Measurement:
    """The largest distance of DDIM's points from DDPM's, by the same noise, in float64."""
    rng = np.random.default_rng(seed)
    schedule = schedules.linear(T)
    with jax.enable_x64(True):
        means, x = jnp.asarray(rng.normal(size=(2, 64, 2)))
        level = analytic.at_index(schedule)
        denoise = analytic.mixture(jnp.full(5, 0.2), means[:5], STD, level)
        key = jax.random.key(seed)
        theirs = ancestral(denoise, x, schedule, key, variance="beta_tilde")
        ours = {eta: ddim(denoise, x, schedule, key, eta=eta) for eta in (1.0, 0.0)}
        difference = {eta: float(abs(points - theirs).max()) for eta, points in ours.items()}
    return {"difference_of_eta_1": difference[1.0], "difference_of_eta_0": difference[0.0]}


def measure_ode(seed: int) -> Measurement:
    """DDIM at eta 0 against Euler's method on eq. 14 over the same levels, in float64."""
    rng = np.random.default_rng(seed)
    schedule = schedules.linear(T)
    vp = schedules.respaced(schedule, ODE_STEPS)
    # The same noise-to-signal ratios; sigma is the ODE's own time.
    ve = schedules.exploding(vp.sigma / vp.alpha)
    with jax.enable_x64(True):
        means, x = jnp.asarray(rng.normal(size=(2, 64, 2)))
        vp_denoise, ve_denoise = (
            analytic.mixture(jnp.full(5, 0.2), means[:5], STD, level)
            for level in (analytic.at_index(schedule), analytic.at_sigma)
        )
        key = jax.random.key(seed)
        ours = {eta: ddim(vp_denoise, x, vp, key, eta=eta) for eta in (0.0, 1.0)}
        solved = euler(ve_denoise, x / vp.alpha[-1], ve)
        difference = {eta: float(abs(points - solved).max()) for eta, points in ours.items()}
    return {"difference_of_eta_0": difference[0.0], "difference_of_eta_1": difference[1.0]}


def measure_few_steps(seed: int) -> Measurement:
    """Frechet distances of one trained model by steps and eta; `rise_` is that from 100 to 10."""
    experiment, state = digits.trained("cosine_simple", seed)
    return few_steps(experiment, state, seed, dataset="digits", count=COUNT, spacings=STEPS)


def measure_few_steps_mnist(seed: int) -> Measurement:
    """The same of one model of MNIST; a seed is another draw."""
    experiment, state = models.trained(models.config(MNIST), "mnist")
    return few_steps(
        experiment, state, seed, dataset="mnist", count=MNIST_COUNT, spacings=MNIST_STEPS
    )


def few_steps(
    experiment: Experiment,
    state: TrainState,
    seed: int,
    *,
    dataset: str,
    count: int,
    spacings: Sequence[int],
) -> Measurement:
    def distance(**options):
        images = samples.draw(experiment, state, seed, count=count, **options)
        return samples.frechet(images, dataset)

    found = {
        f"eta{eta}_{steps}": distance(solver="ddim", steps=steps, eta=float(eta))
        for eta in (0, 1)
        for steps in spacings
    }
    found |= {
        f"beta_{steps}": distance(solver="ancestral_beta", steps=steps) for steps in (10, 100)
    }
    rises = {
        f"rise_{kind}": found[f"{kind}_10"] - found[f"{kind}_100"] for kind in ("eta0", "eta1")
    }
    return found | rises | samples.trivial(dataset, count)


def measure_consistency(seed: int) -> Measurement:
    """RMS pixel distances of the images of 20 and of 100 steps from one x_T."""
    experiment, state = digits.trained("cosine_simple", seed)

    def images(steps, eta, draws=seed):
        return samples.draw(
            experiment, state, draws, count=KEPT, solver="ddim", steps=steps, eta=eta
        )

    few, many = KEPT_STEPS
    whole = images(many, 0.0)
    return {
        "distance_eta0": _rms(whole - images(few, 0.0)),
        "distance_eta1": _rms(images(many, 1.0) - images(few, 1.0)),
        "distance_other_x_T": _rms(whole - images(many, 0.0, draws=seed + 1000)),
    }


def _rms(difference: np.ndarray) -> float:
    return float(np.sqrt(np.mean(difference**2)))


CLAIMS = [
    Claim(
        id="ddim.eta_one",
        statement="With eta = 1 over all T steps DDIM is DDPM's ancestral sampling.",
        source="section 4.1, eq. 16",
        figure="identity, difference 0 [M]",
        figures={"difference_of_eta_1": 0},
        kind="exact",
        protocol=f"Exact denoiser of a mixture of five Gaussians, linear betas, T = {T}, variance "
        "beta-tilde, the same noise in both, float64; the largest difference of 64 points.",
        measure=measure_eta_one,
        rules=[
            identity("difference_of_eta_1", 0, tolerance=1e-6),
            violated("difference_of_eta_0", least=0.1),
        ],
        seeds=5,
        ours=["difference_of_eta_1"],
        baseline=["difference_of_eta_0"],
        settings={"std": STD, "T": T},
    ),
    Claim(
        id="ddim.ode",
        statement="With eta = 0 DDIM is Euler's method on an ODE in sigma / alpha.",
        source="section 4.3, eq. 14",
        figure="identity, difference 0 [M]",
        figures={"difference_of_eta_0": 0},
        kind="exact",
        protocol=f"Exact denoiser of a mixture of five Gaussians, {ODE_STEPS} of {T} linear steps; "
        "Euler's method on the variance-exploding form, float64; 64 points.",
        measure=measure_ode,
        rules=[
            identity("difference_of_eta_0", 0, tolerance=1e-6),
            violated("difference_of_eta_1", least=0.1),
        ],
        seeds=5,
        ours=["difference_of_eta_0"],
        baseline=["difference_of_eta_1"],
        settings={"std": STD, "T": T, "steps": ODE_STEPS},
    ),
    Claim(
        id="ddim.few_steps",
        statement="As the steps S shrink, eta = 0 degrades less than eta = 1.",
        source="table 1",
        figure="CIFAR-10 FID at S = 10/20/50/100: eta 0 13.36/6.84/4.67/4.16, "
        "eta 1 41.07/18.36/8.01/5.78 [V]",
        figures={"eta0_10": 13.36, "eta0_100": 4.16, "eta1_10": 41.07, "eta1_100": 5.78},
        kind="direction",
        protocol=f"{digits.CONFIG}, {COUNT} samples of all classes, T = 1000; Frechet distance to "
        f"the training images in {digits.EXTRACTOR}'s features. rise = S 10 less S 100.",
        measure=measure_few_steps,
        rules=[ordered("eta0_10", "eta1_10"), ordered("rise_eta0", "rise_eta1")],
        ours=[
            *("eta0_5", "eta0_10", "eta0_20", "eta0_50", "eta0_100"),
            *("eta1_5", "eta1_10", "eta1_20", "eta1_50", "eta1_100", "beta_10", "beta_100"),
        ],
        baseline=["test_images", "per_pixel_gaussian"],
        settings={"count": COUNT, "steps": STEPS}
        | digits.settings("cosine_simple", classifiers=[digits.EXTRACTOR]),
    ),
    Claim(
        id="ddim.few_steps_mnist",
        statement="As the steps S shrink, eta = 0 degrades less than eta = 1: on MNIST.",
        source="table 1",
        figure="CIFAR-10 FID at S = 10/20/100: eta 0 13.36/6.84/4.16, eta 1 41.07/18.36/5.78 [V]",
        figures={"eta0_10": 13.36, "eta0_100": 4.16, "eta1_10": 41.07, "eta1_100": 5.78},
        kind="direction",
        protocol=f"{MNIST}, one training; three draws of {MNIST_COUNT} samples of all classes, "
        "T = 1000; Frechet distance to training images in mnist_convnet's features.",
        measure=measure_few_steps_mnist,
        rules=[ordered("eta0_10", "eta1_10"), ordered("rise_eta0", "rise_eta1")],
        ours=[
            *("eta0_10", "eta0_20", "eta0_100", "eta1_10", "eta1_20", "eta1_100"),
            *("beta_10", "beta_100"),
        ],
        baseline=["test_images", "per_pixel_gaussian"],
        settings={"count": MNIST_COUNT, "steps": MNIST_STEPS, "mnist": plain(models.config(MNIST))}
        | digits.settings(classifiers=["mnist_convnet"]),
    ),
    Claim(
        id="ddim.consistency",
        statement="From one x_T, eta = 0 gives like images whatever the number of steps.",
        source="section 5.2, figure 5",
        figure="shown in images, no number [M]",
        kind="direction",
        protocol=f"{digits.CONFIG}; RMS pixel distance of {KEPT} images of 20 and 100 steps, "
        "in [-1, 1]; eta = 1 keeps x_T too, the last baseline does not.",
        measure=measure_consistency,
        rules=[ordered("distance_eta0", "distance_eta1", "distance_other_x_T")],
        ours=["distance_eta0", "distance_eta1"],
        baseline=["distance_other_x_T"],
        settings={"count": KEPT, "steps": KEPT_STEPS} | digits.settings("cosine_simple"),
    ),
    Claim(
        id="ddim.cifar10",
        statement="DDIM with 50 steps matches the FID of eta = 1 with 1000 steps on CIFAR-10.",
        source="table 1",
        figure="FID 4.67 and 4.73 [V]",
        figures={"eta0_50": 4.67, "eta1_1000": 4.73},
        kind="accelerator",
        protocol="configs/ddpm.py:cifar10, 50,000 samples.",
        not_run="needs DDPM's CIFAR-10 model: an accelerator, a download, Inception's weights",
    ),
]
