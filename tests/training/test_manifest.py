"""The manifest names all that it takes to repeat a run."""

import platform
import sys

import flax
import jax
import numpy as np
import optax

from research.training import manifest as manifests
from research.training.manifest import PACKAGES, git_state, manifest


def test_it_holds_what_it_is_given_and_what_runs_it(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/env/bin/python")
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "launch.train", "--config=vae"])
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=1")
    hashes = {"digits/train": "ab", "digits/test": "cd"}
    found = manifest(config={"seed": 3}, seed=3, data_hashes=hashes)
    assert found["command"] == ["/env/bin/python", "-m", "launch.train", "--config=vae"]
    assert (found["config"], found["seed"]) == ({"seed": 3}, 3)
    assert found["data_sha256"] == hashes
    assert found["xla_flags"] == "--xla_force_host_platform_device_count=1"
    assert found["devices"] == [device.device_kind for device in jax.devices()]


def test_versions_are_those_that_are_imported():
    found = manifest(config={}, seed=0, data_hashes={})
    assert found["python"] == platform.python_version()
    assert found["packages"].keys() == set(PACKAGES)
    for module in (jax, flax, optax, np):
        assert found["packages"][module.__name__] == module.__version__


def test_a_commit_made_meanwhile_is_not_of_the_code_at_work(monkeypatch):
    git_state.cache_clear()
    monkeypatch.setattr(manifests, "_git", lambda *arguments: "first")
    assert git_state()["commit"] == "first"
    monkeypatch.setattr(manifests, "_git", lambda *arguments: "later")
    assert git_state()["commit"] == "first"
    git_state.cache_clear()
