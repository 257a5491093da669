"""launch.profile: the loop against its step, a step against its floor, a kernel against its own."""

import json
import os
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding

from kernels import compilers, report
from kernels.compilers import missing
from kernels.roofline import product_flops
from launch.profiles.bare_step import bare_step
from launch.profiles.kernel import check_hand_written, write_report
from launch.profiles.kernel import profile as profile_kernel
from launch.profiles.step import bytes_of_a_device
from launch.turns import by_turns
from research.configuration import load_config
from research.errors import InputError
from research.experiment import build
from research.training.sharding import AXES


def profile(*flags, timeout=600, environment=None):
    command = [sys.executable, "-m", "launch.profile", *flags]
    environment = os.environ | (environment or {})
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environment)


def measured(*flags, environment=None):
    done = profile("--json", *flags, environment=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_loop_over_step_is_measured():
    found = measured(
        *("--loop", "--steps=4", "--rounds=2"),
        # A log that is rarer than the turns are long.
        *("--config=configs/classifier.py:digits_debug", "--config.log.every_steps=50"),
    )
    ratio = found["loop_ms"] / found["step_ms"]
    assert abs(found["loop_over_step"] - ratio) < 1e-9
    assert found["compilations_after_first_step"] == 0
    assert 0 <= found["data_wait"] < 1


def test_turns_that_are_stopped_tell_nothing():
    """Medians of fewer rounds are not those that were asked for."""

    def other():
        others.append(1.0)
        if len(others) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return 1.0

    others = []
    experiment = build(load_config("configs/classifier.py:digits_debug"))
    with pytest.raises(InputError, match="stopped after 3 of 6 turns"):
        by_turns(experiment, other, steps=2, rounds=5, log_every=2)


def test_a_step_stands_beside_its_floor(tmp_path):
    config = "--config=configs/classifier.py:digits_debug"
    found = measured("--step", "--rounds=2", config, f"--out={tmp_path}")
    assert found["times_floor"] == pytest.approx(found["step_ms"] / found["floor_ms"])
    assert found["times_floor"] > 1 and found["product_flops"] > 0
    assert list((tmp_path / "trace").rglob("*.xplane.pb"))


def test_a_step_of_four_devices_has_the_floor_of_one(tmp_path):
    """A quarter of the products and of the batch, and all of a state that is replicated."""
    config = "configs/classifier.py:digits_debug"
    step, state, batch, rng = bare_step(build(load_config(config)))
    flops, _ = product_flops(step.trace(state, batch, rng).jaxpr.jaxpr)
    found = measured(
        *("--step", "--rounds=2", f"--config={config}", f"--out={tmp_path}"),
        environment={"XLA_FLAGS": "--xla_force_host_platform_device_count=4"},
    )
    assert found["devices"] == 4 and found["times_floor"] > 1
    assert found["product_flops"] == flops / 4
    assert found["state_bytes"] == bytes_of_a_device(state)
    assert found["bytes"] == 2 * found["state_bytes"] + bytes_of_a_device(batch) / 4


def test_bytes_of_a_device_are_its_shards():
    """On a mesh of one device that stands for four."""
    mesh = Mesh(np.array(jax.devices()[:1] * 4).reshape(1, 4, 1), AXES)
    kept = {"bfloat16": jax.P(None, "fsdp"), "float32": jax.P()}
    state = {
        dtype: jax.ShapeDtypeStruct((3, 8), dtype, sharding=NamedSharding(mesh, spec))
        for dtype, spec in kept.items()
    }
    assert bytes_of_a_device(state) == 3 * 2 * 2 + 3 * 8 * 4


def test_a_kernel_is_timed_beside_its_peers(tmp_path):
    flags = ["--kernel=attention", "--target=cpu", "--shapes=cpu_unet_49", "--rounds=2", "--peers"]
    rows = {row["backend"]: row for row in measured(*flags, f"--out={tmp_path}")}
    for backend in ("xla", "jax_nn"):
        assert rows[backend]["times_floor"] > 1
        assert rows[backend]["ms_range"][0] <= rows[backend]["ms"] <= rows[backend]["ms_range"][1]
    assert json.loads((tmp_path / "attention-cpu.json").read_text())
    assert "| attention | cpu_unet_49 | xla |" in (tmp_path / "attention-cpu.md").read_text()


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ([], "profile: error: say what to profile: one of --loop, --step, --kernel=NAME"),
        (["--loop"], "profile: error: --loop and --step profile a run: give --config=FILE:VARIANT"),
        (["--kernel=atention"], "profile: error: no kernel 'atention'; nearest: attention"),
        (
            ["--kernel=attention", "--target=tpu-v5"],
            "profile: error: no target 'tpu-v5'; nearest: tpu-v5",
        ),
        (
            ["--loop", "--config=configs/classifier.py:digits_debug", "--peers", "--shapes=x"],
            "profile: error: --shapes, --peers: nothing of what is profiled takes it",
        ),
        (
            ["--kernel=attention", "--target=tpu-v5e", "--rounds=3"],
            "profile: error: --rounds: nothing of what is profiled takes it",
        ),
        (
            ["--write_report", "--rounds=3"],
            "profile: error: --rounds: nothing of what is profiled takes it",
        ),
        (
            ["--write_report", "--target=tpu-v5"],
            "profile: error: no target 'tpu-v5'; nearest: tpu-v5",
        ),
        (
            ["--write_report", "--kernel=atention", "--target=cpu"],
            "profile: error: no kernel 'atention'; nearest: attention",
        ),
        (
            ["--kernel=attention.decode", "--target=cpu", "--peers"],
            "profile: error: --peers: attention.decode has none on a CPU",
        ),
        (
            ["--kernel=attention", "--target=cpu", "--shapes=cpu_20"],
            "profile: error: attention has no case 'cpu_20' for cpu; nearest: cpu_2048",
        ),
    ],
)
def test_bad_input_is_one_line(flags, line):
    done = profile(*flags)
    assert done.returncode != 0
    assert done.stderr.strip().splitlines()[-1].startswith(line)


@pytest.mark.parametrize("target", ["tpu-v5e", None])
def test_a_kernel_without_a_backend_for_the_chip_is_named(target, monkeypatch):
    """With every compiler there; of all chips it is the first that is named."""
    monkeypatch.setattr(compilers, "missing", lambda target: None)
    monkeypatch.setattr(report, "write", lambda rows: pytest.fail(f"wrote {rows}"))
    with pytest.raises(InputError, match="linear has no backend of its own for tpu-v5e"):
        write_report("linear", target, rounds=2)
    with pytest.raises(InputError, match="linear has no backend of its own for tpu-v5e"):
        profile_kernel("linear", "tpu-v5e", [], rounds=2, peers=False)
    check_hand_written(["linear", "attention"], ["tpu-v5e"])


TUNED = """
import sys
from kernels import compilers
from launch import command, tune
compilers.missing = lambda target: None
tune.tune = lambda kernel, target, **options: iter([])
command.run(tune.main)
"""


def test_a_kernel_with_a_backend_of_its_own_is_tuned():
    """With every compiler there, of which none is run."""

    def tune(kernel):
        flags = [f"--kernel={kernel}", "--target=tpu-v5e"]
        return subprocess.run([sys.executable, "-c", TUNED, *flags], capture_output=True, text=True)

    assert tune("attention").returncode == 0
    refused = tune("linear")
    assert refused.returncode != 0
    assert "error: linear has no backend of its own for tpu-v5e" in refused.stderr.splitlines()[-1]


@pytest.mark.skipif(missing("tpu-v5e") is None, reason="libtpu is here")
def test_an_absent_compiler_says_what_to_install():
    done = profile("--kernel=attention", "--target=tpu-v5e")
    expected = "profile: error: tpu-v5e needs libtpu: `make setup-aot`, then .venv-aot/bin/python"
    assert done.returncode != 0 and done.stderr.strip().splitlines()[-1] == expected
