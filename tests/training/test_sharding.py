"""Sharding: the same run on 1, 2 and 8 simulated devices, and moved from 8 to 1 and 4."""

import json
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from research.errors import InputError
from research.training.optimizers import optimizer
from research.training.sharding import AXES, check_batch, make_mesh, state_shardings

# Sums over shards are taken in another order: 20 steps of float32 may differ by this much.
TOLERANCE = 1e-5


def trained(devices, fsdp, steps, directory, *, at_once=1, on_devices=0):
    command = [sys.executable, "-m", "tests.training.devices"]
    arguments = (devices, fsdp, steps, at_once, on_devices, directory)
    command += [str(argument) for argument in arguments]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output)


def assert_same(one, other):
    for left, right in zip(one["leaves"], other["leaves"], strict=True):
        np.testing.assert_allclose(left, right, rtol=TOLERANCE, atol=TOLERANCE)


def test_devices_agree_and_a_run_moves_between_them(tmp_path):
    whole = trained(1, 1, 20, tmp_path / "1")
    two = trained(2, 1, 20, tmp_path / "2", at_once=8)
    eight = trained(8, 4, 20, tmp_path / "8", at_once=8, on_devices=1)
    assert [run["devices"] for run in (whole, two, eight)] == [1, 2, 8]
    assert whole["shard"] == [4, 8] and eight["shard"] == [4, 2]
    assert_same(whole, two)
    assert_same(whole, eight)

    trained(8, 4, 12, tmp_path / "moved-1")
    shutil.copytree(tmp_path / "moved-1", tmp_path / "moved-4")
    on_one = trained(1, 1, 20, tmp_path / "moved-1")
    on_four = trained(4, 2, 20, tmp_path / "moved-4")
    assert on_one["step"] == on_four["step"] == 20
    assert_same(whole, on_one)
    assert_same(whole, on_four)


def test_rules_are_read_in_order_and_replicate_the_rest():
    mesh = make_mesh()
    state = {"a": {"kernel": np.zeros((4, 6)), "bias": np.zeros(6)}}
    rules = [("bias", ["data"]), ("kernel", [None, "fsdp"]), ("a/", ["tensor"])]
    specs = jax.tree.map(lambda sharding: sharding.spec, state_shardings(state, mesh, rules))
    assert specs["a"]["kernel"] == jax.P(None, "fsdp")
    assert specs["a"]["bias"] == jax.P("data")
    assert state_shardings(state, mesh, ())["a"]["bias"].spec == jax.P()


def test_leaves_of_fewer_dimensions_than_their_rule_are_replicated():
    state = {"kernel": np.zeros((4, 6)), "kernel_scale": np.zeros(6), "kernel_count": np.zeros(())}
    found = state_shardings(state, make_mesh(), [("kernel", [None, "fsdp"])])
    specs = {name: sharding.spec for name, sharding in found.items()}
    whole = dict.fromkeys(("kernel_scale", "kernel_count"), jax.P())
    assert specs == {"kernel": jax.P(None, "fsdp")} | whole


def four():
    """A mesh of one device that stands for four."""
    return jax.sharding.Mesh(np.array(jax.devices()[:1] * 4).reshape(1, 4, 1), AXES)


def test_an_axis_that_does_not_divide_a_dimension_is_named():
    mesh = four()
    rules = [("kernel", [None, "fsdp"])]
    found = state_shardings({"kernel": np.zeros((3, 8))}, mesh, rules)
    assert found["kernel"].spec == jax.P(None, "fsdp")
    with pytest.raises(InputError, match="dense/kernel: 6 is not divided by fsdp=4"):
        state_shardings({"dense": {"kernel": np.zeros((4, 6))}}, mesh, rules)


def test_what_an_optimizer_keeps_undivided_is_replicated():
    """Adafactor has a moment of each parameter's shape, and placeholders of one number."""
    chain = optimizer("adafactor", learning_rate=0.1, total_steps=9)
    state = {"opt_state": jax.eval_shape(chain.init, {"kernel": np.zeros((4, 8))})}
    found = state_shardings(state, four(), [("kernel$", ["fsdp"])])
    pairs = zip(*map(jax.tree.leaves, (state, found)), strict=True)
    assert {leaf.shape: sharding.spec for leaf, sharding in pairs} == {
        (): jax.P(),
        (1,): jax.P(),
        (4, 8): jax.P("fsdp"),
    }


def test_a_batch_that_the_devices_do_not_divide_is_named():
    check_batch(12, {"data": 2, "fsdp": 3, "tensor": 5})
    with pytest.raises(InputError, match=r"batch_size=12 is not divided by the 8 devices.*; 16 is"):
        check_batch(12, {"data": 4, "fsdp": 2, "tensor": 1})


def test_bad_meshes_and_rules_are_named():
    with pytest.raises(InputError, match="needs 3 devices, there are 1"):
        make_mesh(data=3)
    with pytest.raises(InputError, match="'model', not of"):
        state_shardings({"kernel": np.zeros(4)}, make_mesh(), [("kernel", ["model"])])
    with pytest.raises(InputError, match="rule for kernel names the axis 'fsdp' twice"):
        state_shardings({"kernel": np.zeros((4, 8))}, make_mesh(), [("kernel", ("fsdp", "fsdp"))])
