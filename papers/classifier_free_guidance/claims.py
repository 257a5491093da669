"""Classifier-free guidance's claims: the implicit classifier, and fidelity against diversity."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from papers import digits, samples
from papers.ledger import Claim
from papers.rules import Measurement, identity, ordered, violated
from research.data import image_sets
from research.data.scaling import scaled
from research.extractors import extractor
from research.sampling import analytic
from research.sampling.guidance import guided

SCALES = (0.0, 0.1, 0.5, 1.0, 4.0)  # of the paper's table 1
COUNT, STEPS = 360, 20
JUDGE = "digits_judge"
W, STD = 3.0, 0.3  # of the identity: guidance, and the Gaussians' deviation


def measure_implicit_classifier(seed: int) -> Measurement:
    """The guided score against the gradient of log p(z|c) + w log p(c|z), relative, in float64."""
    rng = np.random.default_rng(seed)
    worst = {"guided_error": 0.0, "conditional_error": 0.0}
    with jax.enable_x64(True):
        means, x = jnp.asarray(rng.normal(size=(2, 256, 2)))
        any_class, of_class = means[:5], means[:2]
        for sigma in (0.2, 0.6, 1.0):
            log_p = functools.partial(log_density, variance=STD**2 + sigma**2)

            def log_target(x, log_p=log_p):
                return (1 + W) * log_p(x, of_class) - W * log_p(x, any_class)

            gradient = jax.grad(log_target)(x)
            given, without = (
                analytic.mixture(jnp.ones(len(m)) / len(m), m, STD, analytic.at_sigma)
                for m in (of_class, any_class)
            )
            for name, w in (("guided_error", W), ("conditional_error", 0.0)):
                score = (guided(given, without, w)(x, jnp.asarray(sigma)).x0 - x) / sigma**2
                error = float(jnp.abs(score - gradient).max() / jnp.abs(gradient).max())
                worst[name] = max(worst[name], error)
    return worst


def log_density(x_BxD: Array, means_KxD: Array, *, variance: float) -> Array:
    """The summed log-density of points under equal Gaussians, up to a constant."""
    squares_BxK = jnp.sum((x_BxD[:, None] - means_KxD) ** 2, axis=-1)
    return jax.nn.logsumexp(-squares_BxK / (2 * variance), axis=1).sum()


@functools.cache
def measure_sweep(seed: int) -> dict[str, float]:
    """Frechet distance, the judge's confidence and the spread within classes, by guidance."""
    experiment, state = digits.trained("cosine_simple", seed)
    labels = np.arange(COUNT) % 10
    found = {}
    for w in SCALES:
        drawn = samples.draw(
            experiment, state, seed, count=COUNT, solver="ddim", steps=STEPS, guidance=w
        )
        images = samples.rounded(drawn, "digits")
        found[f"frechet_{w:g}"] = samples.frechet(images, "digits")
        found |= {f"{name}_{w:g}": value for name, value in judged(images, labels).items()}
    test = image_sets.load("digits", "test")
    real = judged(scaled(test.arrays()["image"], test.levels), test.arrays()["label"])
    real = {f"{name}_test_images": value for name, value in real.items()}
    return found | real | samples.trivial("digits", COUNT)


def judged(images: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The judge's probability of the right class, its accuracy, and the spread within classes.

    The spread is the total variance of the features of one class, averaged over classes.
    """
    probabilities = extractor(JUDGE).probabilities(images)
    features = extractor(digits.EXTRACTOR).features(images)
    spread = [features[labels == label].var(axis=0).sum() for label in range(10)]
    return {
        "confidence": float(probabilities[np.arange(len(labels)), labels].mean()),
        "accuracy": float((probabilities.argmax(axis=1) == labels).mean()),
        "spread": float(np.mean(spread)),
    }


PROTOCOL = (
    f"{digits.CONFIG}, {COUNT} samples of all classes by DDIM, {STEPS} steps, at w = "
    f"{'/'.join(f'{w:g}' for w in SCALES)}; "
)
TABLE = "ImageNet-64, p_uncond 0.1, w = 0/0.1/0.5/1/4: "
SETTINGS = {"scales": SCALES, "count": COUNT, "steps": STEPS} | digits.settings(
    "cosine_simple", classifiers=[digits.EXTRACTOR, JUDGE]
)
CLAIMS = [
    Claim(
        id="classifier_free_guidance.implicit_classifier",
        statement="Guidance adds w times the gradient of an implicit classifier's log p(c | z).",
        source="section 3.2, eq. 6",
        figure="identity, error 0 [M]",
        figures={"guided_error": 0},
        kind="exact",
        protocol="Two of a mixture's five Gaussians are the class; scores of `guided` against "
        f"autodiff of the log-densities, w = {W:g}, three noise levels, float64, relative error.",
        measure=measure_implicit_classifier,
        rules=[
            identity("guided_error", 0, tolerance=1e-6),
            violated("conditional_error", least=0.1),
        ],
        seeds=5,
        ours=["guided_error"],
        baseline=["conditional_error"],
        settings={"w": W, "std": STD},
    ),
    Claim(
        id="classifier_free_guidance.trade_off",
        statement="A larger w trades diversity for fidelity.",
        source="table 1",
        figure=TABLE + "IS 53.7/66.1/119.3/170.1/260.2 [V]",
        figures={"is_0": 53.7, "is_0.1": 66.1, "is_0.5": 119.3, "is_1": 170.1, "is_4": 260.2},
        kind="direction",
        protocol=PROTOCOL + f"{JUDGE}'s probability of the class asked for, and the total variance "
        f"of {digits.EXTRACTOR}'s features within a class.",
        measure=measure_sweep,
        rules=[ordered("confidence_0", "confidence_4"), ordered("spread_4", "spread_0")],
        ours=[
            *("confidence_0", "confidence_1", "confidence_4", "accuracy_0", "accuracy_4"),
            *("spread_0", "spread_1", "spread_4"),
        ],
        baseline=["confidence_test_images", "accuracy_test_images", "spread_test_images"],
        settings=SETTINGS,
    ),
    Claim(
        id="classifier_free_guidance.u_shape",
        statement="The Frechet distance is lowest at a small w > 0 and rises from there.",
        source="table 1",
        figure=TABLE + "FID 1.80/1.55/5.74/12.6/26.2 [V]",
        figures={"fid_0": 1.80, "fid_0.1": 1.55, "fid_0.5": 5.74, "fid_1": 12.6, "fid_4": 26.2},
        kind="direction",
        protocol=PROTOCOL + "Frechet distance to the training images in "
        f"{digits.EXTRACTOR}'s features.",
        measure=measure_sweep,
        rules=[
            ordered("frechet_0.1", "frechet_0"),
            ordered("frechet_0.1", "frechet_1", "frechet_4"),
        ],
        ours=["frechet_0", "frechet_0.1", "frechet_0.5", "frechet_1", "frechet_4"],
        baseline=["test_images", "per_pixel_gaussian"],
        settings=SETTINGS,
    ),
    Claim(
        id="classifier_free_guidance.imagenet64",
        statement="FID is 1.55 at w = 0.1 and IS 260.2 at w = 4 on ImageNet-64.",
        source="table 1",
        figure="FID 1.55, IS 260.2 [V]",
        figures={"fid": 1.55, "is": 260.2},
        kind="accelerator",
        protocol="The paper's class-conditional model, 50,000 samples.",
        not_run="ImageNet is not to be had here, its training takes weeks of accelerators, and FID "
        "and IS need Inception's weights",
    ),
]
