"""Verdict rules on made-up measurements: what holds, what is refused, and the words."""

import concurrent.futures
import dataclasses
import time

import numpy as np
import pytest

from papers import ledger
from papers.ledger import Claim, judge
from papers.rules import (
    at_most,
    estimate,
    figure,
    identity,
    ordered,
    surely_at_least,
    surely_at_most,
    violated,
)
from research.errors import InputError


def seeds(**values):
    """One measurement a seed from a list of values a name."""
    return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]


def test_the_interval_is_students():
    found = estimate(seeds(x=[1.0, 2.0, 3.0]), "x")
    assert found.mean == 2 and found.seeds == 3
    assert found.standard_error == pytest.approx(1 / np.sqrt(3))
    assert found.half_width == pytest.approx(4.30265 / np.sqrt(3), rel=1e-5)


def test_one_seed_has_no_interval():
    found = estimate(seeds(x=[1.0]), "x")
    assert found.half_width == np.inf and str(found) == "1"
    assert not ordered("x", "y")(seeds(x=[1.0], y=[2.0])).holds
    assert not figure("x", 1.0)(seeds(x=[1.0])).holds


@pytest.mark.parametrize(
    ("rule", "values", "holds"),
    [
        (identity("x", 1, tolerance=0.1), [1.05, 0.95], True),
        (identity("x", 1, tolerance=0.1), [1.0, 1.2], False),
        (identity("x", 0, tolerance=0.1), [0.0, np.nan], False),
        (violated("x", least=0.1), [0.2, 0.3], True),
        (violated("x", least=0.1), [0.2, 0.01], False),
        (violated("x", least=0.1), [np.nan, 0.3], False),
        (violated("x", least=0.1), [0.3, np.nan], False),
        (figure("x", 3.17), [3.1, 3.2, 3.25], True),
        (figure("x", 3.17), [3.31, 3.32, 3.33], False),
        (at_most("x", 3.17), [3.31, 3.32, 3.33], False),
        (at_most("x", 3.17), [3.1, 3.2, 3.25], True),
        (at_most("x", 3.17), [0.1, 0.2, 0.3], True),
        (surely_at_most("x", 3.17), [3.1, 3.11, 3.12], True),
        (surely_at_most("x", 3.17), [3.1, 3.2, 3.15], False),
        (surely_at_most("x", 3.17), [0.1], False),
        (surely_at_most("x", 3.17), [0.1, 0.2, np.nan], False),
        (surely_at_least("x", 475), [500.0] * 9 + [472.0], True),
        (surely_at_least("x", 475), [500.0] * 9 + [230.0], False),
        (surely_at_least("x", 475), [500.0], False),
        (surely_at_least("x", 475), [500.0, 500.0, np.nan], False),
        (figure("x", 500), [500.0] * 7 + [21.0] * 3, False),
        (figure("x", 500), [500.0] * 9 + [400.0], True),
        (figure("x", 3.17, standard_error=0.1), [3.31, 3.32, 3.33], True),
        (figure("x", 3.17, standard_error=0.1), [3.41, 3.42, 3.43], False),
        (figure("x", 3.17, standard_error=9.0), [4.2, 4.2, 4.2], False),
        (at_most("x", 1.0), [1.0, 1.0, 40.0], False),
        (at_most("x", 1.0), [0.1, 0.1, 3.0], True),
        (at_most("x", 3.17), [0.1], False),
        (at_most("x", 3.17), [0.1, 0.2, np.nan], False),
        (figure("x", 3.17), [np.nan, 3.1, 3.2], False),
    ],
)
def test_rules_of_one_value(rule, values, holds):
    assert rule(seeds(x=values)).holds == holds


@pytest.mark.parametrize(
    ("rule", "values", "shown"),
    [
        (identity("x", 0, tolerance=0.1), [0.0, np.nan], "is nan, tolerance 0.1"),
        (violated("x", least=0.97), [0.98, 0.968], "is 0.968, at least 0.97"),
    ],
)
def test_the_reason_of_a_failure_does_not_read_as_if_it_held(rule, values, shown):
    assert shown in rule(seeds(x=values)).reason


def test_an_order_needs_intervals_that_do_not_overlap():
    rule = ordered("low", "high")
    assert rule(seeds(low=[1.0, 1.1, 1.2], high=[2.0, 2.1, 2.2])).holds
    assert not rule(seeds(low=[2.0, 2.1, 2.2], high=[1.0, 1.1, 1.2])).holds
    # Every seed is in order, but three seeds so far apart are no evidence.
    assert not rule(seeds(low=[1.0, 2.0, 3.0], high=[1.5, 2.5, 3.5])).holds
    assert not rule(seeds(low=[1.0, 1.1, np.nan], high=[2.0, 2.1, 2.2])).holds


EXACT = Claim(
    id="toy.identity",
    statement="zero is zero",
    source="section 0",
    figure="0 [M]",
    kind="exact",
    protocol="none",
    measure=lambda seed: {"error": 0.0},
    rules=[identity("error", 0, tolerance=0.1)],
    seeds=3,
    ours=["error"],
)


def test_verdicts():
    good, bad = [{"error": 0.0}] * 3, [{"error": 0.0}] * 2 + [{"error": 1.0}]
    assert judge(EXACT, good).name == "REPRODUCED"
    assert judge(EXACT, bad).name == "FAILED"
    assert judge(EXACT, good[:2]) == ("NOT RUN", "2 of 3 seeds measured")
    assert judge(dataclasses.replace(EXACT, kind="direction"), good).name == "DIRECTION HOLDS"
    assert judge(dataclasses.replace(EXACT, rules=[]), good).name == "FAILED"
    not_run = dataclasses.replace(EXACT, measure=None, not_run="no accelerator")
    assert judge(not_run, []) == ("NOT RUN", "no accelerator")


@pytest.fixture
def directory(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, "PAPERS_DIR", tmp_path)
    (tmp_path / "toy").mkdir()
    return tmp_path


def counting(calls, *, dies_at=None):
    def measure(seed):
        if seed == dies_at:
            raise KeyboardInterrupt
        calls.append(seed)
        return {"error": 0.01 * seed}

    return dataclasses.replace(EXACT, measure=measure)


def test_a_killed_measurement_goes_on_where_it_stopped(directory):
    calls = []
    with pytest.raises(KeyboardInterrupt):
        ledger.measure(counting(calls, dies_at=2))
    assert ledger.results("toy")["toy.identity"]["name"] == "NOT RUN"
    ledger.measure(counting(calls))
    assert calls == [0, 1, 2]
    entry = ledger.results("toy")["toy.identity"]
    assert entry["name"] == "REPRODUCED"
    assert entry["seeds"]["2"]["values"] == {"error": 0.02}
    assert {"measured", "seconds", "device", "git"} <= entry["seeds"]["2"].keys()


def test_another_protocol_is_measured_anew(directory):
    calls = []
    ledger.measure(counting(calls), seeds=1)
    ledger.measure(counting(calls), seeds=1)
    assert calls == [0]
    ledger.measure(dataclasses.replace(counting(calls), settings={"steps": 7}), seeds=1)
    ledger.measure(dataclasses.replace(counting(calls), version=2), seeds=1)
    assert calls == [0, 0, 0]


def test_damaged_results_are_one_line(directory):
    (directory / "toy" / "results.json").write_text('{"toy.identity": ')
    with pytest.raises(InputError, match=r"toy/results\.json is damaged: Expecting value"):
        ledger.measure(EXACT)


def test_more_seeds_are_added_to_those_kept(directory):
    calls = []
    ledger.measure(counting(calls))
    ledger.measure(counting(calls), seeds=5)
    assert calls == [0, 1, 2, 3, 4]


def test_a_seed_has_the_commit_it_began_with(directory, monkeypatch):
    """Which is that of the code at work; another may be made meanwhile."""

    def measure(seed):
        monkeypatch.setattr(ledger, "git_state", lambda: {"commit": "later", "dirty": False})
        return {"error": 0.0}

    monkeypatch.setattr(ledger, "git_state", lambda: {"commit": "first", "dirty": False})
    ledger.measure(dataclasses.replace(EXACT, measure=measure))
    seeds = ledger.results("toy")["toy.identity"]["seeds"]
    assert [record["git"]["commit"] for record in seeds.values()] == ["first"] * 3


def test_claims_of_one_paper_that_are_kept_at_once_lose_no_seed(directory, monkeypatch):
    def slow(paper):
        found = results(paper)
        time.sleep(0.3)
        return found

    results = ledger.results
    monkeypatch.setattr(ledger, "results", slow)
    claims = [dataclasses.replace(EXACT, id=f"toy.{name}") for name in "ab"] * 2
    options = dict(seconds=1.0, git={})
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for seed, claim in enumerate(claims):
            pool.submit(ledger.keep, claim, seed, {"error": 0.0}, **options)
    kept = {claim: set(entry["seeds"]) for claim, entry in results("toy").items()}
    assert kept == {"toy.a": {"0", "2"}, "toy.b": {"1", "3"}}
