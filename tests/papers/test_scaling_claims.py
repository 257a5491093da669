"""The scaling laws' claims: how parameters are counted, and what fails a law."""

import jax
import pytest

from papers import ledger
from papers.scaling_laws import claims as paper
from research.experiment import build

ALL = {claim.id.split(".")[1]: claim for claim in paper.CLAIMS}
SIZES = [shape.parameters for shape in paper.SIZES]


@pytest.mark.parametrize("shape", [paper.SIZES[0], paper.DEEP])
def test_parameters_are_the_networks_without_embeddings_and_norms(shape):
    params = build(paper.config(shape)).layout().params["model"]
    paths = jax.tree_util.tree_flatten_with_path(params)[0]
    kernels = [x.size for path, x in paths if "'kernel'" in jax.tree_util.keystr(path)]
    assert sum(kernels) == shape.parameters


def found(monkeypatch, claim: str, loss) -> str:
    """The verdict of three seeds of a made-up loss by shape and seed."""
    monkeypatch.setattr(paper, "loss", loss)
    monkeypatch.setattr(paper, "trivial", lambda: {"bigram_loss": 2.5, "unigram_loss": 3.3})
    return ledger.judge(ALL[claim], [ALL[claim].measure(seed) for seed in range(3)]).name


def test_a_power_of_the_size_is_a_law_and_its_exponent_is_found(monkeypatch):
    def power(shape, seed):
        return (1 + 0.001 * seed) * (shape.parameters / 1e7) ** -0.076

    assert found(monkeypatch, "parameters", power) == "DIRECTION HOLDS"
    assert ALL["parameters"].measure(0)["alpha"] == pytest.approx(0.076)
    assert ALL["parameters"].measure(0)["r_squared"] == pytest.approx(1)


WRONG = {
    "a bent line": lambda shape, seed: 1.9 + 0.3 * (shape.parameters == SIZES[0]) + 0.001 * seed,
    "a loss that rises": lambda shape, seed: (shape.parameters / 1e9) ** 0.05 + 0.001 * seed,
    "no better than bigrams": lambda shape, seed: 2.6 - shape.width / 1000 + 0.001 * seed,
}


@pytest.mark.parametrize("name", WRONG)
def test_no_law(monkeypatch, name):
    assert found(monkeypatch, "parameters", WRONG[name]) == "FAILED"


@pytest.mark.parametrize(
    ("deep", "verdict"), [(1.01, "DIRECTION HOLDS"), (1.05, "FAILED"), (0.95, "FAILED")]
)
def test_depth_may_change_the_loss_by_three_percent(monkeypatch, deep, verdict):
    def loss(shape, seed):
        noise = 1 + 0.001 * seed
        smaller = 1.1 if shape.parameters < SIZES[-1] else 1.0
        return 2 * noise * smaller * (deep if shape == paper.DEEP else 1)

    assert found(monkeypatch, "shape", loss) == verdict
