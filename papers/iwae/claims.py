"""IWAE's claims: more samples make a tighter bound, and a likelier model of MNIST."""

import dataclasses
from typing import cast

import jax
import numpy as np
from ml_collections import ConfigDict

from papers import linear_gaussian, trained
from papers.ledger import Claim
from papers.rules import Measurement, identity, ordered
from research.data.examples import Dataset, InMemory
from research.evaluation.latents import active_units
from research.experiment import Experiment
from research.methods.importance_bounds import log_mean_exp, log_weights
from research.methods.vae import VAE
from research.run import metrics_on_test, plain
from research.training.state import TrainState

CONFIG = "configs/iwae.py:mnist"
KS = (1, 5, 50)
BATCH, EPOCHS = 20, 10
TEST_IMAGES, EVALUATION_SAMPLES = 1000, 5000
DRAWS, PARTS = 50_000, 40  # of 50 samples in all, drawn in so many parts


def measure_bounds(seed: int) -> Measurement:
    """Means over a linear-Gaussian model's data of L_K and log p(x), in nats; the noise by seed."""
    with jax.enable_x64(True):
        model = linear_gaussian.model(0)

        def bounds(rng: jax.Array) -> dict[str, jax.Array]:
            eps = linear_gaussian.normal(rng, DRAWS * 50 // PARTS)
            weights = log_weights(model.vae.terms(model.params, model.x, eps))
            weights = weights.reshape(linear_gaussian.COUNT, -1, 50)
            return {f"L_{k}": log_mean_exp(weights[..., :k]).mean() for k in (1, 2, 5, 50)}

        parts = jax.lax.map(bounds, jax.random.split(jax.random.key(seed), PARTS))
    found = {name: float(np.mean(np.asarray(values))) for name, values in parts.items()}
    log_p = float(model.log_p_B.mean())
    elbo = log_p - float(model.gap_B.mean())
    return found | {"log_p": log_p, "L_1_less_elbo": found["L_1"] - elbo}


def measure_likelihood(seed: int) -> Measurement:
    """-log p(x) of test images in nats, of models trained with k samples; and active units."""
    found: dict[str, float] = {}
    for k in KS:
        experiment, state = model(k, seed)
        values = on_test_images(experiment, state)
        found |= {f"{name}_{k}": values[name] for name in ("nll", "bound", "active")}
    trivial = experiment.method.trivial(experiment.train_data, few_test_images(experiment))
    return found | {"baseline_nll": trivial["nll"]["independent_pixels"]}


def model(k: int, seed: int) -> tuple[Experiment, TrainState]:
    """The IWAE of k samples, trained, resumed or read back."""
    return trained.trained(config(k, seed), f"iwae-k{k}-seed{seed}")


def config(k: int, seed: int = 0) -> ConfigDict:
    """`CONFIG` with the paper's batch for `EPOCHS` passes over the data."""
    overrides = {
        "method.k": k,
        "method.evaluation_samples": EVALUATION_SAMPLES,
        "data.batch_size": BATCH,
        "steps": EPOCHS * 60_000 // BATCH,
    }
    return trained.config(CONFIG, seed=seed, overrides=overrides, save_every=5000)


def on_test_images(experiment: Experiment, state: TrainState) -> dict[str, float]:
    """Means of the method's metrics over every n-th test image, binarized alike for all models."""
    test_data = few_test_images(experiment)
    # The seed draws the binary pixels.
    alike = dataclasses.replace(
        experiment, test_data=test_data, evaluate={"batch_size": 50}, seed=0
    )
    found = {name: metric.mean for name, metric in metrics_on_test(alike, state).items()}
    method = cast(VAE, experiment.method)
    x = method.likelihood.observed(test_data.arrays()["image"], jax.random.key(0))
    return found | {"active": active_units(np.asarray(jax.jit(method.encode)(state, x)))}


def few_test_images(experiment: Experiment) -> Dataset:
    arrays = experiment.test_data.arrays()
    every = len(arrays["image"]) // TEST_IMAGES
    few = InMemory({name: array[::every][:TEST_IMAGES] for name, array in arrays.items()})
    return dataclasses.replace(experiment.test_data, source=few)


CLAIMS = [
    Claim(
        id="iwae.bounds",
        statement="log p(x) >= L_{k+1} >= L_k, and L_1 is the ELBO.",
        source="theorem 1, eq. 8",
        figure="theorem, no number [M]",
        kind="exact",
        protocol=f"{linear_gaussian.COUNT} data of a linear-Gaussian model, of which log p and the "
        f"ELBO are known; means of {DRAWS:,} draws of L_k a datum, float64, the noise by seed.",
        measure=measure_bounds,
        rules=[
            ordered("L_1", "L_2", "L_5", "L_50", "log_p"),
            identity("L_1_less_elbo", 0, tolerance=0.01),
        ],
        seeds=5,
        ours=["L_5", "L_50", "log_p"],
        baseline=["L_1"],
        settings={"draws": DRAWS, "parts": PARTS, "ks": (1, 2, 5, 50)},
    ),
    Claim(
        id="iwae.likelihood",
        statement="Trained with k = 1, 5 and 50 samples, models of dynamically binarized MNIST "
        "have negative log-likelihoods that fall with k.",
        source="table 1, one stochastic layer",
        figure="86.76, 85.54, 84.78 nats [V]",
        figures={"nll_1": 86.76, "nll_5": 85.54, "nll_50": 84.78},
        kind="direction",
        protocol=f"The paper's network, 50 latents and 2 x 200 tanh units, and its batch of {BATCH}"
        f"; {EPOCHS} of its 3280 epochs, Adam at 1e-3 with a cosine to 0. -L_{EVALUATION_SAMPLES} "
        f"of {TEST_IMAGES} test images, every tenth, binarized alike for all.",
        measure=measure_likelihood,
        rules=[ordered("nll_50", "nll_5", "nll_1")],
        ours=["nll_50", "nll_5", "nll_1"],
        baseline=["baseline_nll"],
        settings={
            "models": [plain(config(k)) for k in KS],
            "images": TEST_IMAGES,
            "samples": EVALUATION_SAMPLES,
        },
    ),
]
