"""LoRA's claims: what a wrong merge, a wrong start or a wrong count does to them."""

import copy

import jax.numpy as jnp
import pytest

from papers import ledger
from papers.lora import claims as lora
from research.methods import lora as method
from tests.papers.verdicts import ALL, verdict


def without_scale(base, adapters, *, scale):
    return merge(base, adapters, scale=1.0)


def with_a_start(*arguments):
    made = factors(*arguments)
    return method.Factors(made.a, made.b + 1e-3)


merge, factors = lora.merge, method.factors


def test_a_wrong_merge_or_start(monkeypatch):
    assert verdict("lora.merging", seeds=3) == "REPRODUCED"
    monkeypatch.setattr(lora, "merge", without_scale)
    assert verdict("lora.merging", seeds=3) == "FAILED"
    monkeypatch.setattr(lora, "merge", merge)
    monkeypatch.setattr(method, "factors", with_a_start)
    assert verdict("lora.merging", seeds=3) == "FAILED"


def test_the_papers_numbers_of_parameters(monkeypatch):
    assert verdict("lora.parameters", seeds=3) == "REPRODUCED"

    def one_factor(kernel, *arguments):
        return method.Factors(factors(kernel, *arguments).a, jnp.zeros(()))

    monkeypatch.setattr(method, "factors", one_factor)
    assert verdict("lora.parameters", seeds=3) == "FAILED"


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, "DIRECTION HOLDS"),
        ({"shortfall": 0.05}, "FAILED"),
        ({"gain_over_probe": 0.01}, "FAILED"),
        ({"learned_share": 0.02}, "FAILED"),
        ({"probe_accuracy": 0.72}, "FAILED"),
    ],
)
def test_what_fails_the_comparison(changed, expected):
    values = dict(lora_accuracy=0.7, probe_accuracy=0.6, majority_accuracy=0.12)
    values |= dict(shortfall=0.01, gain_over_probe=0.1, learned_share=0.004)
    seeds = [{k: v + 1e-4 * i for k, v in (values | changed).items()} for i in range(3)]
    assert ledger.judge(ALL["lora.gloss_categories"], seeds).name == expected


def test_a_shortfall_that_may_be_beyond_the_bound_fails():
    values = dict(lora_accuracy=0.7, probe_accuracy=0.6, majority_accuracy=0.12)
    values |= dict(gain_over_probe=0.1, learned_share=0.004)
    for shortfalls, expected in (
        ((0.014, 0.015, 0.016), "DIRECTION HOLDS"),
        ((0.010, 0.019, 0.028), "FAILED"),
    ):
        seeds = [
            {k: v + 1e-4 * i for k, v in values.items()} | {"shortfall": shortfall}
            for i, shortfall in enumerate(shortfalls)
        ]
        assert ledger.judge(ALL["lora.gloss_categories"], seeds).name == expected


def test_the_three_ways_differ_in_what_is_learned_alone():
    sections = copy.deepcopy(ALL["lora.gloss_categories"].settings["configs"])
    for config in sections.values():
        config.pop("lora", None)
        config["optimizer"].pop("rates")
    assert sections["full"] == sections["lora"] == sections["probe"]
