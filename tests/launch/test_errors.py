"""Bad input ends in one line that says what, where and what is allowed; nothing is lost."""

import json
import os
import subprocess
import sys

import pytest

from research.configuration import TREE


def run(*arguments, **environment):
    command = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, env=os.environ | environment, timeout=600
    )


def error_of(*arguments, **environment):
    """The one line a failing command ends in."""
    done = run(*arguments, **environment)
    assert "Traceback" not in done.stderr
    return last_line(done)


def last_line(done):
    assert done.returncode == 1, done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert ": error: " in line
    return line


DIGITS = "--config=configs/ddpm.py:digits"
DEBUG = "--config=configs/ddpm.py:digits_debug"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            [DIGITS, "--config.optimizer.learnin_rate=1"],
            "config.optimizer has no key 'learnin_rate'; nearest: learning_rate",
        ),
        ([DIGITS, "--config.optimiser.learning_rate=1"], "no key 'optimiser'; nearest: optimizer"),
        (
            [DIGITS, "--config.optimizer.learning_rate.x=3"],
            "config.optimizer.learning_rate is a value, it has no key 'x'",
        ),
        ([DIGITS, "--config.steps=many"], "--config.steps=many: invalid literal for int"),
        (["--config=configs/ddmp.py:digits"], "no config file 'configs/ddmp.py'; nearest: config"),
        (["--config=configs/ddpm.py:digit"], "no variant 'digit'; nearest: digits"),
        ([DIGITS, "--wat=1"], "Unknown command line flag 'wat'"),
        ([DIGITS, "count=100"], "count=100 is no flag: flags are --name=value"),
        (["-config=configs/ddmp.py:digits"], "no config file 'configs/ddmp.py'; nearest: config"),
        ([DIGITS, "-config.stepz=3"], "config has no key 'stepz'; nearest: steps"),
        ([DEBUG, "--config.data.name=digit"], "nearest: digits"),
        ([DEBUG, "--config.mesh.fsdp=3"], "devices, there are 1"),
        ([DEBUG, "--workdir="], "it names no folder"),
    ],
)
def test_a_bad_flag(tmp_path, arguments, message):
    assert message in error_of("launch.train", f"--workdir={tmp_path}/run", *arguments)


def test_a_reader_that_goes_ends_a_command_quietly():
    """As `launch.reproduce --list | head -1` does."""
    read, written = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "launch.reproduce", "--list"]
    done = subprocess.run(command, stdout=written, stderr=subprocess.PIPE, text=True, timeout=600)
    os.close(written)
    assert done.returncode == 1 and not done.stderr


def test_a_directory_without_a_run(tmp_path):
    line = error_of("launch.sample", f"--workdir={tmp_path}")
    assert "config.json is missing (launch.train makes one)" in line


def test_a_file_without_a_name(tmp_path):
    line = error_of("launch.sample", f"--workdir={tmp_path}", "--out=.")
    assert line.endswith("--out=. names no file")


def test_a_workdir_of_another_config(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"seed": 7}))
    (tmp_path / "checkpoints" / "1").mkdir(parents=True)
    line = error_of("launch.train", DEBUG, f"--workdir={tmp_path}")
    assert "was made by another config" in line and "seed: 7 -> 0" in line


def test_no_registry_in_reach_names_what_works_without(tmp_path):
    line = error_of(
        "launch.train",
        "--config=configs/ddpm.py:mnist_debug",
        f"--workdir={tmp_path}/run",
        PATH="/nonexistent",
        ATELIER_CACHE=str(tmp_path / "cache"),
    )
    assert "`digits` works without any download" in line


def test_a_config_of_the_tree_is_found_from_another_folder(tmp_path):
    """And its flags are those of the file, however they are written."""
    command = [sys.executable, "-m", "launch.train", "-config", "configs/vae.py:digits_debug"]
    arguments = ["-config.steps=1", "--workdir=run"]
    done = subprocess.run(
        [*command, *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(TREE)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert "finished at step 1" in done.stdout


def test_a_place_that_can_not_be_written_in(tmp_path):
    (tmp_path / "file").write_text("mine")
    config = "--config=configs/classifier.py:digits_debug"
    step = ["launch.profile", "--step", "--rounds=2", config]
    line = error_of(*step, f"--out={tmp_path}/file/deeper")
    assert line.endswith(f"cannot use {tmp_path}/file/deeper/trace: Not a directory")


def test_a_full_disk_keeps_the_last_good_checkpoint(tmp_path):
    """A file system of a few MiB fills up while the run is saving."""
    disk = tmp_path / "disk"
    disk.mkdir()
    size = "size=3m"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", disk], check=False)
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    try:
        arguments = [DEBUG, "--config.steps=40", "--config.checkpoint.keep=40"]
        # A thread of Orbax's may have complained before; the last line is ours.
        line = last_line(run("launch.train", *arguments, f"--workdir={disk}/run"))
        assert "disk is full" in line
        good = [path for path in (disk / "run" / "checkpoints").glob("*") if path.name.isdigit()]
        assert good
    finally:
        subprocess.run(["umount", disk], check=True)


def test_an_interrupted_command_says_so():
    program = (  # a shell's background job begins with the signal ignored
        "import signal; from launch import command; signal.signal(2, signal.default_int_handler); "
        "command.run(lambda _: signal.raise_signal(2))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=600
    )
    assert (done.returncode, done.stderr.splitlines()[-1]) == (130, "-c: stopped")
    assert "Traceback" not in done.stderr


def test_help_is_readable():
    done = run("launch.train", "--help")
    assert "python -m launch.train --config=configs/ddpm.py:digits" in done.stdout
    assert "--workdir" in done.stdout
