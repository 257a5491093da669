"""The transformer's claims: measured right they hold, and what is wrong fails them."""

import pytest

from papers import ledger
from papers.attention_is_all_you_need import claims as paper

ALL = {claim.id.partition(".")[2]: claim for claim in paper.CLAIMS}


def judged(name, measured):
    claim = ALL[name]
    return ledger.judge(claim, [measured] * claim.seeds).name


@pytest.mark.parametrize(("name", "wrong"), [("offsets", "error"), ("mask", "leak")])
def test_identities_hold_and_what_is_wrong_fails(name, wrong, monkeypatch):
    monkeypatch.setattr(paper, "WIDTH", 64)
    monkeypatch.setattr(paper, "LENGTH", 300)
    monkeypatch.setattr(paper, "OFFSETS", (1, 7))
    measured = ALL[name].measure(0)
    assert judged(name, measured) == "REPRODUCED"
    others = {k: v for k, v in measured.items() if k.startswith(f"{wrong}_")}
    assert len(others) == 1
    assert judged(name, measured | {wrong: max(others.values())}) == "FAILED"


def test_the_scale_holds_and_another_fails(monkeypatch):
    monkeypatch.setattr(paper, "PRODUCTS", 5000)
    monkeypatch.setattr(paper, "SIZES", (16, 512))
    measured = paper.measure_scale(0)
    assert judged("scale", measured) == "DIRECTION HOLDS"
    assert judged("scale", measured | {"greatest_error": 1.0}) == "FAILED"
    unscaled = {"gradient_scaled": measured["gradient_unscaled"]}
    assert judged("scale", measured | unscaled) == "FAILED"
