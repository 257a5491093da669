"""Grokking's claims: what is read off the curves, that they are resumed, and what fails."""

import jax
import pytest

from papers import ledger, trained
from papers.grokking import claims as paper
from papers.grokking import curves
from research.configuration import load_config
from research.errors import InputError
from research.experiment import Experiment, build

DELAY = {claim.id: claim for claim in paper.CLAIMS}["grokking.delay"]
TRAINING = [(25, 0.2), (50, 0.995), (75, 0.9), (100, 1.0)]


def verdict(*validations):
    found = [paper.delays(TRAINING, validation) | {"chance": 1 / 97} for validation in validations]
    return ledger.judge(DELAY, found).name


def test_delays_are_of_the_first_steps_at_99_percent():
    found = paper.delays(TRAINING, [(25, 0.01), (50, 0.03), (600, 0.985), (625, 0.99)])
    assert found["training_steps"] == 50 and found["validation_steps"] == 625
    assert found["times_later"] == 12.5 and found["validation_then"] == 0.03


def test_late_validation_is_grokking_and_what_is_sooner_or_never_is_not():
    def late(step, then=0.02):
        return [(25, 0.01), (50, then), (step, 1.0)]

    assert verdict(late(500), late(600), late(800, then=0.03)) == "DIRECTION HOLDS"
    assert verdict(late(500), late(600), late(475)) == "FAILED"
    never = [(25, 0.01), (50, 0.02), (10_000, 0.98)]
    assert verdict(late(600), late(600), never) == "FAILED"
    assert verdict(late(600, then=0.9), late(600, then=0.9), late(600, then=1.0)) == "FAILED"


@pytest.mark.parametrize("claim", paper.CLAIMS, ids=lambda claim: claim.id)
@pytest.mark.parametrize("validation", [0.01, 1.0])
def test_what_is_never_learned_fails(claim, validation):
    training = [(25, 0.2), (4000, 0.9)]
    found = paper.delays(training, [(25, 0.01), (4000, validation)])
    assert found["training_steps"] == 4000 and found["times_later"] == 1
    assert ledger.judge(claim, [found | {"chance": 1 / 97}] * 3).name == "FAILED"


def test_training_ends_when_validation_is_reached(tmp_path, monkeypatch):
    """Stage by stage; what was asked for once more goes on where it stopped."""
    monkeypatch.setattr(trained, "RUNS", tmp_path)
    monkeypatch.setattr(curves, "STAGE", 50)
    monkeypatch.setattr(curves, "REACHED", 0.02)
    made = load_config("configs/grokking.py:division_debug")
    made.update_from_flattened_dict({"steps": 75, "steps_per_execution": 5})
    training, validation = curves.curves(made, "toy")
    assert [step for step, _ in training] == [step for step, _ in validation] == [25, 50]
    for path in tmp_path.glob("toy-*/*.jsonl"):  # as one that was killed after its last save
        path.write_text(path.read_text() + '{"step": 60, "accuracy": 2, "model/accuracy": 2}\n')
    monkeypatch.setattr(curves, "REACHED", 1.1)
    more, _ = curves.curves(made, "toy")
    assert more[:2] == training and more[2][0] == 75 and len(more) == 3
    assert not curves.is_reached(more)


def test_a_stopped_run_says_so(tmp_path, monkeypatch):
    """Where training returns before its last step, as a signal makes it."""
    monkeypatch.setattr(trained, "RUNS", tmp_path)
    made = load_config("configs/grokking.py:division_debug")
    begun = build(made)
    state = begun.method.init(jax.random.key(0), begun.example())
    monkeypatch.setattr(Experiment, "train", lambda *args, **options: state)
    with pytest.raises(InputError, match="stopped at 0; the same command goes on"):
        curves.curves(made, "toy")


def test_a_claim_is_measured_in_the_papers_protocol():
    config = DELAY.settings["config"]
    assert config["data"]["batch_size"] == 512 and config["data"]["share"] == 0.5
    assert config["optimizer"]["weight_decay"] == 1 and config["optimizer"]["b2"] == 0.98
    assert (config["network"]["layers"], config["network"]["width"]) == (2, 128)
    assert config["network"]["heads"] == 4
