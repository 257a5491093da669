"""Measures what a run or a kernel spends its time on, here or by a compiler for what isn't here.

python -m launch.profile --loop --config=configs/ddpm.py:digits
python -m launch.profile --step --config=configs/ddpm.py:digits
python -m launch.profile --kernel=attention --target=cpu --peers
.venv-aot/bin/python -m launch.profile --kernel=attention --target=tpu-v5e [--shapes=forward_2048]
.venv-aot/bin/python -m launch.profile --write_report [--target=device] [--kernel=attention]

--loop times whole stretches of the training loop against the bare compiled step, alternately.
--step holds one whole train step against its floor, and keeps a trace for xprof. --kernel holds a
kernel's cases against theirs: timed where the device is (cpu, device), else with the compiler's
report; --write_report puts those of all kernels, or of one, into kernels/REPORT.md. Tables go to
--out as Markdown and JSON; --json prints the JSON. `make setup-aot` makes .venv-aot, which has the
compilers, and tokamax, whose kernels --peers times beside jax.nn's.
"""

import json
import pathlib

from absl import flags
from ml_collections import config_flags

from launch import command
from research.errors import InputError

CONFIG = config_flags.DEFINE_config_file("config", None, "A file of configs/ and its variant.")
LOOP = flags.DEFINE_bool("loop", False, "Time the training loop against the bare step.")
STEP = flags.DEFINE_bool("step", False, "Hold one train step against its floor; trace it.")
KERNEL = flags.DEFINE_string("kernel", None, "A folder of kernels/, such as attention.decode.")
TARGET = flags.DEFINE_string("target", None, "cpu, device, or a chip that needn't be here.")
SHAPES = flags.DEFINE_list("shapes", [], "Cases of the kernel's shapes.py; all if none is named.")
PEERS = flags.DEFINE_bool("peers", False, "Time others' functions of the same arguments too.")
REPORT = flags.DEFINE_bool("write_report", False, "Renew kernels/REPORT.md.")
STEPS = flags.DEFINE_integer("steps", 30, "Steps in one stretch.", lower_bound=2)
ROUNDS = flags.DEFINE_integer("rounds", 11, "Turns of each; medians are reported.", lower_bound=2)
OUT = flags.DEFINE_string("out", "runs/profile", "Where tables and traces go.")
JSON = flags.DEFINE_bool("json", False, "Print JSON.")


def main(argv: list[str]) -> None:
    kernels = KERNEL.value is not None or REPORT.value
    if sum([LOOP.value, STEP.value, kernels]) != 1:
        raise InputError(
            "say what to profile: one of --loop, --step, --kernel=NAME and --write_report"
        )
    alone = KERNEL.value is not None and not REPORT.value
    # A report without a target is the compilers'; a kernel alone is timed here.
    timed = not kernels or TARGET.value in ("cpu", "device") or (alone and TARGET.value is None)
    meant = (
        *((CONFIG, not kernels), (STEPS, LOOP.value), (TARGET, kernels), (SHAPES, alone)),
        *((PEERS, alone), (ROUNDS, timed), (OUT, alone or STEP.value), (JSON, not REPORT.value)),
    )
    if idle := [f"--{flag.name}" for flag, is_meant in meant if flag.present and not is_meant]:
        raise InputError(f"{', '.join(idle)}: nothing of what is profiled takes it")
    if REPORT.value:
        from launch.profiles.kernel import write_report

        write_report(KERNEL.value, TARGET.value, rounds=ROUNDS.value)
        return
    out = pathlib.Path(OUT.value)
    if KERNEL.value is not None:
        from launch.profiles.kernel import profile, write

        target = TARGET.value or "device"
        rows = profile(KERNEL.value, target, SHAPES.value, rounds=ROUNDS.value, peers=PEERS.value)
        table = write(rows, out / f"{KERNEL.value}-{target}")
        print(json.dumps(rows) if JSON.value else table)
        return
    if CONFIG.value is None:
        raise InputError("--loop and --step profile a run: give --config=FILE:VARIANT")
    if LOOP.value:
        from launch.profiles.loop import loop_over_step

        measured = loop_over_step(CONFIG.value, steps=STEPS.value, rounds=ROUNDS.value)
    else:
        from launch.profiles.step import step_over_floor

        measured = step_over_floor(CONFIG.value, rounds=ROUNDS.value, out=out)
    lines = [f"{name}: {value}" for name, value in measured.items()]
    print(json.dumps(measured) if JSON.value else "\n".join(lines))


if __name__ == "__main__":
    command.run(main)
