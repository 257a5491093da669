"""BERT's claims: other shares fail, and so does a network to which the right side tells nothing."""

import jax.numpy as jnp
import pytest

from papers import ledger
from papers.bert import claims as paper
from research.experiment import build
from research.methods import masked_language_model as method

ALL = {claim.id.split(".")[1]: claim for claim in paper.CLAIMS}


def holds(measured):
    return all(rule([measured]).holds for rule in ALL["masking"].rules)


def test_the_papers_shares_and_others(monkeypatch):
    assert holds(paper.measure_masking(0))
    monkeypatch.setattr(method, "HIDDEN", 0.85)
    assert not holds(paper.measure_masking(0))
    monkeypatch.setattr(method, "HIDDEN", 0.8)
    monkeypatch.setattr(method, "SWAPPED", 0.2)
    assert not holds(paper.measure_masking(0))


def test_chosen_tokens_lie_anywhere_and_others_stay(monkeypatch):
    monkeypatch.setattr(paper, "chosen_of", lambda length, share: 25)
    assert not holds(paper.measure_masking(0))
    monkeypatch.undo()
    right = paper.masking

    def first_ones(*arguments, **options):
        found = right(*arguments, **options)
        places = jnp.broadcast_to(jnp.arange(found.places_BxM.shape[1]), found.places_BxM.shape)
        return found._replace(places_BxM=places)

    monkeypatch.setattr(paper, "masking", first_ones)
    measured = paper.measure_masking(0)
    assert measured["place_error"] > 0.8 and measured["changed_elsewhere"] > 0
    assert not holds(measured)


def test_a_network_of_the_left_side_alone_can_be_trained():
    build(paper.config(causal=True)).check()


@pytest.mark.parametrize(
    ("both", "left", "verdict"),
    [
        ((2.5, 0.5), (3.0, 0.4), "DIRECTION HOLDS"),
        ((3.0, 0.4), (3.0, 0.4), "FAILED"),
        ((2.5, 0.4), (3.0, 0.4), "FAILED"),
        ((6.1, 0.1), (6.3, 0.05), "FAILED"),
    ],
)
def test_both_sides_must_tell_more(both, left, verdict):
    seeds = []
    for noise in (0.998, 1, 1.003):
        losses = {"loss_both": both[0], "loss_left": left[0], "loss_unigram": 6.0}
        accuracies = {"accuracy_both": both[1], "accuracy_left": left[1]}
        seeds.append({name: noise * value for name, value in (losses | accuracies).items()})
    assert ledger.judge(ALL["both_sides"], seeds).name == verdict
