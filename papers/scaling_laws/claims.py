"""The scaling laws' claims: a language model's loss by its number of parameters and its shape."""

import functools
from typing import NamedTuple

import numpy as np
import scipy
from ml_collections import ConfigDict

from papers import trained
from papers.ledger import Claim
from papers.rules import Measurement, identity, ordered, violated
from research.experiment import build
from research.run import plain


class Shape(NamedTuple):
    layers: int
    width: int

    @property
    def parameters(self) -> int:
        """Without embeddings, norms and biases: 12 layers width^2, table 1."""
        return 12 * self.layers * self.width**2


CONFIG = "configs/gpt.py:shakespeare_char"
STEPS = 2000
SIZES = (Shape(2, 16), Shape(2, 32), Shape(2, 64), Shape(2, 128))
DEEP = Shape(8, 64)  # as many parameters as the largest of SIZES
ALPHA = 0.076


def config(shape: Shape, seed: int = 0) -> ConfigDict:
    """The shape, on Shakespeare's characters."""
    network = {"layers": shape.layers, "width": shape.width, "heads": 4}
    overrides = {f"network.{name}": value for name, value in network.items()}
    return trained.config(CONFIG, seed=seed, overrides={"steps": STEPS, **overrides})


def loss(shape: Shape, seed: int) -> float:
    """Nats a character of the test plays, each predicted once."""
    made = config(shape, seed)
    name = f"scaling-{shape.layers}x{shape.width}-seed{seed}"
    experiment, state = trained.trained(made, name)
    return trained.test_metrics(experiment, state, batch_size=256)["loss"]


def measure_law(seed: int) -> Measurement:
    """Losses by size, and the straight line through their logarithms: its slope and R^2."""
    losses = [loss(shape, seed) for shape in SIZES]
    sizes = [shape.parameters for shape in SIZES]
    fit = scipy.stats.linregress(np.log(sizes), np.log(losses))
    measured = {f"loss_{size}": value for size, value in zip(sizes, losses, strict=True)}
    return measured | trivial() | {"alpha": -fit.slope, "r_squared": fit.rvalue**2}


def measure_shape(seed: int) -> Measurement:
    """Losses of two shapes of as many parameters, and of one of a quarter of them."""
    wide, deep, smaller = (loss(shape, seed) for shape in (SIZES[-1], DEEP, SIZES[-2]))
    return trivial() | {
        "wide_loss": wide,
        "deep_loss": deep,
        "shape_gap": abs(deep / wide - 1),
        "size_gap": smaller / min(wide, deep) - 1,
    }


@functools.cache
def trivial() -> dict[str, float]:
    """Nats a character of unigrams and bigrams, and of a character in as many as there are."""
    experiment = build(config(SIZES[0]))
    nats = experiment.method.trivial(experiment.train_data, experiment.test_data)["loss"]
    return {f"{name}_loss": value for name, value in nats.items()}


PROTOCOL = (
    "Shakespeare's characters, plays held out, contexts of 64, AdamW at 1e-3 with a cosine, "
    f"{STEPS} steps of 12 windows: 1.5 million characters of 4.4, none seen twice on purpose. "
)
NAMES = [f"loss_{shape.parameters}" for shape in SIZES]
SETTINGS = {"config": plain(config(SIZES[0])), "sizes": SIZES}

CLAIMS = [
    Claim(
        id="scaling_laws.parameters",
        statement="The test loss falls as a power of the number of parameters without embeddings.",
        source="section 1.2, equation 1.1, figure 1",
        figure=f"alpha_N {ALPHA} [V]",
        figures={"alpha": ALPHA},
        kind="direction",
        protocol=PROTOCOL + "2 layers of width 16, 32, 64 and 128; the straight line through "
        "log loss by log parameters.",
        measure=measure_law,
        rules=[ordered(*reversed(NAMES), "bigram_loss"), violated("r_squared", least=0.97)],
        ours=["alpha", "r_squared", *NAMES],
        baseline=["bigram_loss", "unigram_loss"],
        settings=SETTINGS,
    ),
    Claim(
        id="scaling_laws.shape",
        statement="At a given number of parameters the loss depends little on depth and width.",
        source="section 3.1, figure 5",
        figure="within a few percent over a wide range of shapes [M]",
        kind="direction",
        protocol=PROTOCOL + "2 layers of width 128 against 8 of width 64, both 393,216 "
        "parameters; beside them 2 layers of width 64, a quarter.",
        measure=measure_shape,
        rules=[identity("shape_gap", 0, tolerance=0.03), ordered("shape_gap", "size_gap")],
        ours=["wide_loss", "deep_loss", "shape_gap"],
        baseline=["size_gap", "bigram_loss"],
        settings=SETTINGS | {"deep": DEEP},
    ),
    Claim(
        id="scaling_laws.data",
        statement="The test loss falls as a power of the number of training tokens.",
        source="section 1.2, equation 1.2, figure 1",
        figure="alpha_D 0.095 [V]",
        figures={"alpha": 0.095},
        kind="accelerator",
        protocol="Models large enough not to bound the loss, trained to where it rises again, on "
        "parts of 20 million to 20 billion tokens of WebText2.",
        not_run="models that large, each trained to the end, are beyond a CPU",
    ),
]
