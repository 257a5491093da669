"""Commands start at once: what only some scores need is imported where one is taken."""

import subprocess
import sys

import pytest

SLOW = {"nltk", "pandas", "scipy.stats", "sklearn", "tensorflow", "tensorflow_datasets"}


@pytest.mark.parametrize("command", ["train", "sample", "evaluate", "reproduce"])
def test_what_is_slow_to_import_is_not(command, tmp_path):
    flags = [f"--workdir={tmp_path}", "--config=configs/gpt.py:shakespeare_char_debug"]
    given = {"train": [*flags, "--config.data.length=0"], "reproduce": ["--paper=no"]}
    arguments = [f"launch.{command}", *given.get(command, flags[:1])]
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", *arguments], capture_output=True, text=True
    )
    assert "error: " in done.stderr.splitlines()[-1]
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "jax" in imported
    assert not imported & SLOW
