"""The TCN's claims: the trivial predictors' closed figures, and what fails a claim."""

import math

import numpy as np
import pytest

from papers import ledger
from papers.tcn import claims as tcn
from research.data import datasets

ALL = {claim.id: claim for claim in tcn.CLAIMS}


def test_always_one_costs_a_sixth_within_two_standard_errors():
    """E (u + v - 1)^2 = 2/12; its square's mean is 1/15, so 1000 examples err by 0.0062."""
    error = math.sqrt((1 / 15 - 1 / 36) / 1000)
    assert tcn.constant_loss(datasets.load("adding", "test")) == pytest.approx(1 / 6, abs=2 * error)


def test_memoryless_copying_costs_ten_of_ln_8():
    """The cross-entropy, counted on data, of blanks by certainty and symbols by a uniform guess."""
    targets = datasets.load("copy_memory", "test", length=50).arrays()["targets"]
    steps = np.arange(targets.shape[1])
    chances = np.where(steps < len(steps) - 10, targets == 0, (targets > 0) / 8)
    assert -np.log(chances).mean() == pytest.approx(tcn.memoryless_loss(50), rel=1e-6)
    assert tcn.memoryless_loss(1000) == pytest.approx(0.02039, abs=5e-6)


def judged(claim_id, losses, trivial, learned_of_few=0.8):
    rest = {"trivial_loss": trivial, "learned_of_few": learned_of_few}
    measured = [{"loss": x, "share_of_trivial": x / trivial} | rest for x in losses]
    return ledger.judge(ALL[claim_id], measured).name


@pytest.mark.parametrize("network", tcn.NAMES)
@pytest.mark.parametrize(("task", "trivial"), [("adding", 1 / 6), ("copy", 0.02039)])
def test_the_papers_figure_passes_and_the_other_way_fails(task, trivial, network):
    claim_id = f"tcn.{task}_{network}"
    figure = ALL[claim_id].figures["loss"]
    near = [figure * factor for factor in (0.99, 1, 1.005)]
    assert judged(claim_id, near, trivial) == "REPRODUCED"
    learns = figure < 1e-3
    other = [trivial * f for f in (0.98, 1, 1.01)] if learns else [1e-4, 2e-4, 3e-4]
    assert judged(claim_id, other, trivial) == "FAILED"
    if learns:
        assert judged(claim_id, [figure / 10] * 3, trivial) == "REPRODUCED"
        assert judged(claim_id, [figure * f for f in (3, 3.1, 3.2)], trivial) == "FAILED"
    assert judged(claim_id, [figure, figure], trivial) == "NOT RUN"


@pytest.mark.parametrize("claim_id", ["adding_lstm", "adding_rnn", "copy_lstm", "copy_rnn"])
def test_a_network_that_can_not_learn_is_no_evidence(claim_id):
    """Who sees the last of five numbers alone, or always says 1, errs as the paper's do on 600."""
    for learned, name in ((0.8, "REPRODUCED"), (0.2, "FAILED"), (0.0, "FAILED")):
        assert judged(f"tcn.{claim_id}", [1 / 6] * 3, 1 / 6, learned) == name


def test_who_remembers_one_step_knows_when_to_copy():
    """Two 9s on end ask for a symbol, so that the loss alone tells no memory from a short one."""
    rows = datasets.load("copy_memory", "test", length=50).arrays()
    asks = rows["inputs"][..., 0] == 9
    asked = np.zeros_like(asks)
    asked[:, 1:] = asks[:, 1:] & asks[:, :-1]
    chances = np.where(asked, (rows["targets"] > 0) / 8, rows["targets"] == 0)
    assert -np.log(chances).mean() == pytest.approx(tcn.memoryless_loss(50), rel=1e-6)


@pytest.mark.parametrize("seen", [0, 1])
def test_who_sees_the_last_number_alone_learns_a_fifth_of_few(seen):
    test = datasets.load("adding", "test", length=tcn.FEW["data.length"]).arrays()
    numbers, marks = test["inputs"][..., 0], test["inputs"][..., 1]
    last = seen * marks[:, -1]
    guess = 1 + last * (numbers[:, -1] - 0.5)
    learned = 1 - np.mean((guess - test["target"]) ** 2) / np.mean((test["target"] - 1) ** 2)
    assert learned == pytest.approx(0.2 * seen, abs=0.05)


@pytest.mark.parametrize("task", tcn.FIGURES)
def test_a_claim_is_measured_in_the_papers_protocol(task):
    config = ALL[f"tcn.{task}_tcn"].settings["config"]
    examples = {"adding": 10 * 50_000, "copy": 50 * 10_000}[task]
    assert config["steps"] * config["data"]["batch_size"] == examples
    assert config["data"]["batch_size"] * config["optimizer"]["accumulate"] == 32
    assert config["data"]["length"] == {"adding": 600, "copy": 1000}[task]


def test_sequential_mnist_is_the_papers_protocol_or_its_first_epochs():
    whole = ALL["tcn.mnist_tcn"].settings["tcn"]
    batch_size = whole["data"]["batch_size"]
    assert batch_size * whole["optimizer"]["accumulate"] == 64
    assert whole["steps"] * batch_size == 20 * 60_000
    assert whole["optimizer"]["drops"] == [[10 * 60_000 // batch_size, 0.1]]
    for shorter in ALL["tcn.sequential_mnist"].settings.values():
        seen = shorter["steps"] * shorter["data"]["batch_size"]
        assert seen == tcn.MNIST_EPOCHS * 60_000
        assert shorter["optimizer"]["drops"][0][0] > shorter["steps"]


@pytest.mark.parametrize(
    ("accuracies", "name"),
    [
        ((98.9, 99.0, 99.1), "REPRODUCED"),
        ((99.4, 99.4, 99.5), "REPRODUCED"),
        ((98.5, 98.5, 98.6), "FAILED"),
    ],
)
def test_a_tcn_that_errs_more_than_the_papers_fails(accuracies, name):
    measured = [
        {"tcn_accuracy": x, "tcn_errors": 100 - x, "majority_accuracy": 11.35} for x in accuracies
    ]
    assert ledger.judge(ALL["tcn.mnist_tcn"], measured).name == name
