"""Errors by the number of examples, a transformer's and others', and their curve: curve.png.

python -m papers.in_context_regression.curve
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from ml_collections import ConfigDict

from papers import trained
from papers.ledger import PAPERS_DIR
from research.data.sequence_tasks import DIMENSIONS
from research.methods.sequence_tasks import StepRegression

Errors = Float[np.ndarray, "T"]  # of 0, 1, ... T - 1 examples, squared over d


def config(seed: int = 0) -> ConfigDict:
    return trained.config("configs/in_context_regression.py:linear", seed=seed)


@functools.cache
def errors(seed: int) -> dict[str, Errors]:
    """Mean squared errors over d on the test functions, of each predictor by its name."""
    experiment, state = trained.trained(config(seed), f"linear-seed{seed}")
    method = experiment.method
    assert isinstance(method, StepRegression)
    batch = {field: jnp.asarray(x) for field, x in experiment.test_data.arrays().items()}
    squares = jax.jit(method.per_step)(state.params["model"], batch)
    own = np.asarray(squares).mean(axis=0) / DIMENSIONS
    return {"transformer": own, **of_others(experiment.test_data.arrays())}


def of_others(arrays: dict[str, np.ndarray]) -> dict[str, Errors]:
    """Of least squares (of the least norm where there are few examples), of the average of y x
    over the examples as weights, and of 0."""
    x, y = arrays["inputs"][..., :DIMENSIONS].astype(np.float64), arrays["targets"]
    found: dict[str, list[float]] = {"least_squares": [], "averaging": [], "zero": []}
    for count in range(y.shape[1]):
        seen, values = x[:, :count], y[:, :count, None].astype(np.float64)
        least = np.linalg.pinv(seen) @ values if count else np.zeros((len(x), DIMENSIONS, 1))
        mean = (seen * values).sum(axis=1)[..., None] / max(count, 1)
        for name, weights in zip(found, (least, mean, 0 * mean), strict=True):
            predicted = (x[:, count, None] @ weights)[:, 0, 0]
            found[name].append(float(np.mean((predicted - y[:, count]) ** 2)) / DIMENSIONS)
    return {name: np.array(values) for name, values in found.items()}


def draw() -> None:
    """The errors of the first seed, as the paper's figure 2."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, values in errors(0).items():
        axes.plot(np.maximum(values, 1e-6), marker=".", label=name.replace("_", " "))
    axes.axvline(2 * DIMENSIONS, color="0.7", linestyle=":")
    axes.set(yscale="log", ylim=(1e-4, 2), xlabel="examples", ylabel="squared error / d")
    axes.legend()
    figure.savefig(PAPERS_DIR / "in_context_regression" / "curve.png", dpi=90)


if __name__ == "__main__":
    draw()
