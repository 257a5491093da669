"""Checkpoints: any damage is found and named, and the last good one is what a run goes on from."""

import dataclasses
import pathlib
import random
import shutil

import orbax.checkpoint as ocp
import pytest

from research.errors import InputError
from research.training import checkpoints as checkpointing
from research.training.checkpoints import Checkpoints, damaged_steps, steps
from research.training.execution import state_layout
from research.training.sharding import make_mesh
from research.training.state import sha256
from tests.training.regression import Regression, fit, iterator


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """A run of 6 steps, saved at 2, 4 and 6."""
    root = tmp_path_factory.mktemp("run") / "checkpoints"
    checkpoints = Checkpoints(root, keep=5)
    fit(steps=6, checkpoints=checkpoints, checkpoint_every=2)
    checkpoints.close()
    return root


@pytest.fixture
def saved(three, tmp_path):
    return pathlib.Path(shutil.copytree(three, tmp_path / "checkpoints"))


def layout():
    return state_layout(Regression(), example=next(iterator()), mesh=make_mesh(), rules=())


def test_what_is_saved_is_whole(saved):
    assert steps(saved) == [2, 4, 6]
    assert damaged_steps(saved) == {}
    assert sha256(checkpointing.load(saved, layout())) == sha256(fit(steps=6))


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete", "unsealed"])
def test_damage_is_named_and_the_last_good_is_used(saved, damage):
    rng = random.Random(damage)
    files = sorted(path for path in (saved / "6").glob("*/**/*") if path.stat().st_size)
    victim = rng.choice([path for path in files if path.is_file()])
    content = bytearray(victim.read_bytes())
    if damage == "flip":
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        victim.write_bytes(content)
    elif damage == "truncate":
        victim.write_bytes(content[: len(content) // 2])
    elif damage == "delete":
        victim.unlink()
    else:
        (saved / "6" / checkpointing.SEAL).unlink()
    assert list(damaged_steps(saved)) == [6]
    assert sha256(checkpointing.load(saved, layout())) == sha256(fit(steps=4))

    lines = []
    checkpoints = Checkpoints(saved, keep=5, report=lines.append)
    resumed = fit(steps=6, checkpoints=checkpoints, checkpoint_every=2)
    checkpoints.close()
    assert str(saved / "6") in lines[0]
    assert (saved.parent / "damaged" / "6").is_dir()
    assert steps(saved) == [2, 4, 6]
    assert damaged_steps(saved) == {}
    assert sha256(resumed) == sha256(fit(steps=6))


def test_a_reader_is_told_of_a_damaged_checkpoint(saved, capsys):
    (saved / "6" / checkpointing.SEAL).write_text("{}")
    assert int(checkpointing.load(saved, layout()).step) == 4
    assert f"checkpoint {saved / '6'} is damaged" in capsys.readouterr().err
    assert (saved / "6").is_dir()


def test_no_whole_checkpoint_is_an_error(saved, tmp_path):
    for step in (2, 4, 6):
        (saved / str(step) / checkpointing.SEAL).write_text("{}")
    with pytest.raises(InputError, match=r"no whole checkpoint in .*checkpoints \(2: "):
        checkpointing.load(saved, layout())
    with pytest.raises(InputError, match="it is empty"):
        checkpointing.load(tmp_path, layout())


def test_only_the_newest_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=2)
    fit(steps=6, checkpoints=checkpoints, checkpoint_every=1)
    checkpoints.close()
    assert steps(tmp_path / "checkpoints") == [5, 6]


@pytest.mark.parametrize("keep", [0, -1])
def test_no_checkpoint_kept_is_refused(tmp_path, keep):
    with pytest.raises(InputError, match=f"checkpoint.keep is {keep}; 1 is the least"):
        Checkpoints(tmp_path, keep=keep)


def test_a_run_whose_checkpoints_are_all_damaged_does_not_begin_anew(saved):
    for step in (2, 4, 6):
        (saved / str(step) / checkpointing.SEAL).write_text("{}")
    with pytest.raises(
        InputError, match=r"no whole checkpoint in .*\(2: .*; to begin anew delete it, or"
    ):
        Checkpoints(saved, keep=5)
    assert steps(saved) == [2, 4, 6] and not (saved.parent / "damaged").exists()


def test_a_checkpoint_that_goes_while_it_is_checked_is_passed_over(saved, monkeypatch):
    """As the newest one read here goes when a trainer saves the next."""

    def gone(path):
        if "6" in path.parts:
            shutil.rmtree(saved / "6", ignore_errors=True)
        return original(path)

    original = checkpointing.sha256
    monkeypatch.setattr(checkpointing, "sha256", gone)
    assert int(checkpointing.load(saved, layout()).step) == 4


@pytest.mark.parametrize("part", [".", "state"])
def test_a_checkpoint_that_goes_while_it_is_read_is_passed_over(saved, monkeypatch, part):
    """All of it, or so far only its state."""

    def gone(manager, step, **options):
        shutil.rmtree(saved / "6" / part, ignore_errors=True)
        return original(manager, step, **options)

    original = ocp.CheckpointManager.restore
    monkeypatch.setattr(ocp.CheckpointManager, "restore", gone)
    assert int(checkpointing.load(saved, layout()).step) == 4


def test_a_whole_checkpoint_of_another_state_is_an_error(saved):
    like = dataclasses.replace(layout(), extra={"more": layout().step})
    with pytest.raises(InputError, match=r"checkpoint 6 in .* was made by other code"):
        checkpointing.load(saved, like)
