"""Trains an experiment in a directory, or goes on with the one that is there.

python -m launch.train --config=configs/ddpm.py:digits --workdir=runs/digits
python -m launch.train --config=configs/ddpm.py:digits --workdir=runs/other --config.steps=500

Ctrl-C or SIGTERM saves and ends; the same command goes on from there.
"""

import pathlib

from absl import flags
from ml_collections import config_flags

from launch import command

CONFIG = config_flags.DEFINE_config_file("config", None, "A file of configs/ and its variant.")
WORKDIR = command.workdir("Where everything of the run is written.")
flags.mark_flag_as_required("config")


def main(argv: list[str]) -> None:
    from research.run import run

    workdir = pathlib.Path(WORKDIR.value)
    state = run(CONFIG.value, workdir)
    stopped = int(state.step) < CONFIG.value.steps
    print(f"{'stopped' if stopped else 'finished'} at step {int(state.step)}: {workdir}")


if __name__ == "__main__":
    command.run(main)
