"""Every variant of every config, in miniature: it trains, resumes, evaluates and samples.

The first step's metrics are golden: exact on the processor and jaxlib they were written with, and
within float32's rounding elsewhere. `UPDATE_GOLDEN=1 make test` rewrites them, when the numerics
were meant to change.
"""

import dataclasses
import json
import os
import pathlib
import platform
import re
import runpy
import shutil

import jax
import jaxlib
import numpy as np
import pytest

from research import run as runs
from research.configuration import TREE, load_config
from research.data import datasets
from research.data.examples import InMemory
from research.data.image_sets import ImageSet
from research.run import draw, metrics_on_test, restore
from research.training import pictures

CONFIGS = sorted(TREE.glob("configs/*.py"))
# Of each file the first variant is a fast test.
VARIANTS = [
    pytest.param(f"configs/{path.name}:{variant}_debug", marks=pytest.mark.slow if number else ())
    for path in CONFIGS
    for number, variant in enumerate(runpy.run_path(str(path))["VARIANTS"])
]
GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "first_step.json"
ELSEWHERE = 1e-3  # relative: another processor sums in another order


@pytest.fixture(autouse=True)
def small_data(monkeypatch):
    """A few test images; CIFAR-10, not to be had offline, is random images of its shape."""
    load = datasets.load

    def small(name, split, **options):
        if name != "cifar10":
            loaded = load(name, split, **options)
            few = InMemory({field: array[:20] for field, array in loaded.arrays().items()})
            return dataclasses.replace(loaded, source=few) if split == "test" else loaded
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (32, 32, 32, 3), dtype=np.uint8)
        source = [{"image": image, "label": np.int32(i % 10)} for i, image in enumerate(images)]
        return ImageSet(
            name=name,
            split=split,
            fingerprint="stand-in",
            source=source,
            image_shape=(32, 32, 3),
            num_classes=10,
            levels=256,
        )

    monkeypatch.setattr(datasets, "load", small)


@pytest.mark.parametrize("variant", ["ring", "grid", "digits"])
def test_a_players_settings_are_its_own(variant):
    """A section that stands in two places would have both changed by one flag."""
    optimizer = load_config(f"configs/gan.py:{variant}").optimizer
    optimizer.generator.learning_rate = 0.5
    assert optimizer.discriminator.learning_rate != 0.5


@pytest.mark.parametrize("name", VARIANTS)
def test_variant(name, tmp_path):
    config = load_config(name)
    workdir = tmp_path / "run"
    state = runs.run(config, workdir)
    assert int(state.step) == 2
    check_golden(name, (workdir / "metrics.jsonl").read_text().splitlines()[0])

    final = json.loads((workdir / "manifest.json").read_text())["final_state_sha256"]
    shutil.rmtree(workdir / "checkpoints" / "2")
    runs.run(config, workdir)
    assert json.loads((workdir / "manifest.json").read_text())["final_state_sha256"] == final

    experiment, state = restore(workdir)
    for estimate in metrics_on_test(experiment, state).values():
        assert estimate.examples == len(experiment.test_data)
        assert np.isfinite(estimate.mean)
    if experiment.evaluate["count"]:
        artefacts = draw(experiment, state, jax.random.key(0), count=10)
        assert all(len(values) == 10 for values in artefacts.values())
        numbers = [values for values in artefacts.values() if values.dtype != object]
        assert all(np.isfinite(values).all() for values in numbers)
        for name in filter(pictures.kind, artefacts):
            assert list((workdir / "samples").glob(f"{name}_*"))
        if "images" in artefacts:
            assert artefacts["images"].shape == (10, *experiment.train_data.image_shape)
            assert np.abs(artefacts["images"]).max() <= 1


def test_nanogpts_second_moments_are_longer_for_characters():
    found = [load_config(f"configs/gpt.py:{v}").optimizer.b2 for v in ("124m", "shakespeare_char")]
    assert found == [0.95, 0.99]


def check_golden(name, line):
    pace = ("steps_per_second", "data_wait")
    metrics = {key: value for key, value in json.loads(line).items() if key not in pace}
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    if os.environ.get("UPDATE_GOLDEN"):
        golden[name] = {"made_on": made_on(), "metrics": metrics}
        GOLDEN.write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n")
    expected = golden[name]["metrics"]
    if golden[name]["made_on"] == made_on():
        assert metrics == expected, "UPDATE_GOLDEN=1 rewrites them, if this change is meant"
    # A divergence of two policies that are still nearly one is a difference of numbers near 1.
    assert metrics == pytest.approx(expected, rel=ELSEWHERE, abs=float(np.finfo(np.float32).eps))


def made_on():
    """The processor and jaxlib, on which numbers repeat to the last bit.

    Its model too: compilers order sums otherwise for another one of the same instructions.
    """
    told = dict(re.findall(r"^(.+?)\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M))
    model = [told[key] for key in ("vendor_id", "cpu family", "model") if key in told]
    flags = told.get("flags", told.get("Features", "")).split()
    vector = sorted(flag for flag in flags if flag.startswith(("avx", "amx", "sve")))
    processor = " ".join([platform.machine(), *model, *vector])
    return f"{processor}, {os.cpu_count()} cores, jaxlib {jaxlib.__version__}"
