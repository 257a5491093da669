"""The tuner finds its keys by tracing, and takes what fits, spills least and costs least."""

import json

import pytest

from kernels import blocks, compilers
from kernels.attention.shapes import CASES
from kernels.tuner import best_of, blocks_of, tune


def launch(*, spills=0, cost=1, shared=0):
    return {"kernels": [dict(spills=spills, cost=cost, shared=shared, shared_limit=100)]}


def test_a_case_asks_for_its_keys_without_a_compiler():
    found = blocks_of(CASES["causal_gradient_2048"], "mosaic_tpu", "tpu-v5e")
    assert found.keys() == {"forward band d128", "keys_gradient d128", "queries_gradient d128"}
    assert blocks_of(CASES["gpt2_1024"], "triton", "gpu-sm90").keys() == {
        "forward d64",
        "dq d64",
        "dkv d64",
    }


def test_a_key_is_tuned_by_the_backend_that_chooses_it():
    """Mosaic GPU's backward pass is Triton's."""
    found = blocks_of(CASES["causal_gradient_2048"], "mosaic_gpu", "gpu-sm90")
    assert found.keys() == {"forward d128"}


def test_a_backend_that_refuses_asks_for_nothing():
    assert blocks_of(CASES["cpu_unet_49"], "mosaic_tpu", "tpu-v5e") == {}


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (launch(cost=3), launch(cost=4)),
        (launch(spills=0, cost=4), launch(spills=1, cost=3)),
        (launch(spills=9, cost=9), launch(shared=101)),
        (launch(spills=9, cost=9), {"error": "took more than 60 s to compile"}),
    ],
)
def test_refusals_count_before_spills_and_spills_before_cost(better, worse):
    reports = [worse, better]
    best = best_of("k", [{"q": 0}, {"q": 1}], lambda blocks: reports[blocks["k"]["q"]], workers=1)
    assert best.blocks == {"q": 1}


@pytest.fixture
def table(monkeypatch, tmp_path):
    """A table of its own for what is tuned here."""
    path = tmp_path / "blocks.json"
    monkeypatch.setattr(blocks, "table_path", lambda package: path)
    blocks.read.cache_clear()
    yield path
    blocks.read.cache_clear()


def test_the_best_is_kept_and_what_does_not_compile_is_not(monkeypatch, table):
    tried_on = {}

    def report(kernel, case, backend, target, *, blocks, seconds):
        ((key, tried),) = blocks.items()
        tried_on[key] = case
        if key == "paged d128":
            return {"error": "took too long"}
        return launch(cost=abs(tried["rows"] - 1024) + tried["fetches"])

    monkeypatch.setattr(compilers, "report", report)
    found = {t.key: t for t in tune("attention.decode", "tpu-v5e", seconds=1, workers=1)}
    assert found["paged d128"].refused
    compiled = {"dense d128": "window_8192", "dense d64": "d64_1024", "dense d256": "d256_8192"}
    assert tried_on == compiled | {"paged d128": "paged_8192"}
    kept = json.loads(table.read_text())["mosaic_tpu"]["tpu-v5e"]
    assert kept == {key: {"rows": 1024, "fetches": 1} for key in compiled}
