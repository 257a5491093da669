"""What is installed stays so until the lock changes."""

import os
import shutil
import subprocess

import pytest

from research.configuration import TREE


@pytest.mark.parametrize("target", ["setup", "setup-aot"])
def test_an_environment_is_installed_once(tmp_path, target):
    shutil.copy(TREE / "Makefile", tmp_path)
    made = ("requirements.lock", "pyproject.toml", ".venv/installed", ".venv-aot/installed")
    for moment, name in enumerate(made):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
        os.utime(path, (moment, moment))
    query = ["make", "--question", target]
    assert subprocess.run(query, cwd=tmp_path, check=False).returncode == 0
    (tmp_path / "requirements.lock").touch()
    assert subprocess.run(query, cwd=tmp_path, check=False).returncode == 1
