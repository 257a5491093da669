"""T5's claims: measured right they hold, and what a wrong implementation gives fails them."""

import dataclasses

import pytest

from papers import ledger
from papers.t5 import claims as t5

ALL = {claim.id: claim for claim in t5.CLAIMS}


@pytest.fixture(scope="module")
def measured():
    return t5.measure_spans(0)


def judged_spans(*measured):
    claim = ALL["t5.spans"]
    return ledger.judge(dataclasses.replace(claim, seeds=len(measured)), measured).name


def test_spans_hold(measured):
    assert judged_spans(measured, measured) == "REPRODUCED"
    assert measured["mean_span_one_by_one"] == pytest.approx(1 / 0.85, rel=0.02)


@pytest.mark.parametrize(
    "wrong",
    [
        {"figure_2_differences": 1.0},
        {"texts_not_restored": 1.0},
        {"share_taken_out": 0.148},
        {"mean_span": 1 / 0.85},
        {"kept_by_the_next": 0.0},  # every text loses the same places
        {"target_tokens_one_by_one": 102.0},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_other_spans_fail(measured, wrong):
    assert judged_spans(measured, measured | wrong) == "FAILED"


def test_a_summarizer_must_beat_both_trivial_ones():
    def judged(*ours):
        rows = [
            {"rougeL_ours": x, "rougeL_lead_words": 0.27, "rougeL_most_frequent": 0.02}
            for x in ours
        ]
        return ledger.judge(ALL["t5.summarize"], rows).name

    assert judged(0.30, 0.31, 0.30) == "DIRECTION HOLDS"
    assert judged(0.27, 0.28, 0.27) == judged(0.01, 0.01, 0.01) == "FAILED"
    assert judged(0.30, 0.31) == "NOT RUN"
