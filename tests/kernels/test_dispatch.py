"""A backend is chosen by name, by order or by platform, and every refusal is told."""

import sys
import types

import pytest

from kernels import dispatch
from kernels.dispatch import choose
from kernels.machine import Machine, compiled_for, entered, interpreted
from kernels.targets import TARGETS

BACKENDS = ("reference", "xla", "mosaic_tpu", "mosaic_gpu", "triton")


@pytest.fixture
def package(monkeypatch):
    """A kernel's folder whose backends take numbers up to their own limit."""
    limits = {"reference": 1000, "xla": 10, "mosaic_tpu": 3, "mosaic_gpu": 2, "triton": 3}
    for name, limit in limits.items():
        module = types.ModuleType(f"toy.{name}")
        module.refuses = lambda n, limit=limit: f"{n} is over {limit}" if n > limit else None
        monkeypatch.setitem(sys.modules, f"toy.{name}", module)
    monkeypatch.setitem(sys.modules, "toy", types.ModuleType("toy"))
    return "toy"


def name_of(module):
    return module.__name__.removeprefix("toy.")


def test_auto_is_the_platforms_own(package):
    assert name_of(choose(package, BACKENDS, "auto", 1)) == "xla"
    with compiled_for("tpu-v5e"):
        assert name_of(choose(package, BACKENDS, "auto", 1)) == "mosaic_tpu"
    with compiled_for("gpu-gfx942"):
        assert name_of(choose(package, BACKENDS, "auto", 1)) == "triton"


def test_a_backend_of_one_chip_is_that_chips(package):
    with compiled_for("gpu-sm90"):
        assert name_of(choose(package, BACKENDS, "auto", 1)) == "mosaic_gpu"
        assert name_of(choose(package, BACKENDS, "auto", 3)) == "triton"
    for target in ("gpu-sm80", "tpu-v5e"):
        expected = f"mosaic_gpu: needs a gpu-sm90, this is {target}"
        with compiled_for(target), pytest.raises(ValueError, match=expected):
            choose(package, BACKENDS, "mosaic_gpu", 1)


def test_a_backend_whose_package_is_missing_is_passed_over(package, monkeypatch):
    monkeypatch.setitem(dispatch.PACKAGES, "triton", "no_such_package")
    with entered(Machine("gpu", TARGETS["gpu-sm80"])):
        assert name_of(choose(package, BACKENDS, "auto", 1)) == "xla"
        with pytest.raises(ValueError, match="triton: needs the package no_such_package"):
            choose(package, BACKENDS, "triton", 1)
    monkeypatch.setitem(dispatch.PACKAGES, "triton", "triton")
    with entered(Machine("gpu", TARGETS["gpu-sm80"])):
        assert name_of(choose(package, BACKENDS, "auto", 1)) == "triton"


def test_hoppers_attention_needs_what_its_gradient_does(package, monkeypatch):
    monkeypatch.setattr(dispatch.importlib.util, "find_spec", lambda _: None)
    with entered(Machine("gpu", TARGETS["gpu-sm90"])):
        assert name_of(choose(package, BACKENDS, "auto", 1)) == "xla"


def test_what_refuses_is_passed_over(package):
    with compiled_for("tpu-v5e"):
        assert name_of(choose(package, BACKENDS, "auto", 5)) == "xla"
    assert name_of(choose(package, BACKENDS, ("triton", "xla", "reference"), 50)) == "reference"


def test_a_name_is_taken_at_its_word(package):
    assert name_of(choose(package, BACKENDS, "reference", 1)) == "reference"
    with pytest.raises(ValueError, match="no implementation takes this call; xla: 11 is over 10"):
        choose(package, BACKENDS, "xla", 11)


def test_every_reason_is_told(package):
    with pytest.raises(ValueError) as raised:
        choose(package, BACKENDS, ("mosaic_tpu", "xla"), 11)
    assert "mosaic_tpu: needs a TPU, this is cpu" in str(raised.value)
    assert "xla: 11 is over 10" in str(raised.value)


def test_an_interpreter_stands_for_any_machine(package):
    with interpreted():
        assert name_of(choose(package, BACKENDS, "triton", 1)) == "triton"
        assert name_of(choose(package, BACKENDS, "auto", 1)) == "xla"
