"""Chooses a kernel's block sizes for a chip that needn't be here, by its compiler's figures.

.venv-aot/bin/python -m launch.tune --kernel=attention --target=tpu-v5e

The choice is kept in the kernel's folder (blocks.json), where the kernel reads it.
"""

import sys

from absl import flags

from kernels.profile import cell
from kernels.tuner import tune
from launch import command
from launch.profiles.kernel import check, check_hand_written
from research.errors import InputError

KERNEL = flags.DEFINE_string("kernel", None, "A folder of kernels/.", required=True)
TARGET = flags.DEFINE_string("target", None, "A chip of kernels/targets.py.", required=True)
KEYS = flags.DEFINE_list("keys", [], "Entries of the table to tune; all if none is named.")
SECONDS = flags.DEFINE_float("seconds", 60, "What one candidate may take.", lower_bound=1)


def main(argv: list[str]) -> None:
    if TARGET.value in ("cpu", "device"):
        raise InputError(f"--target={TARGET.value} has no compiler's figures; name a chip")
    check(KERNEL.value, TARGET.value)
    check_hand_written([KERNEL.value], [TARGET.value])
    tuned = set()
    for best in tune(KERNEL.value, TARGET.value, keys=KEYS.value, seconds=SECONDS.value):
        _, spills, cost = best.order
        found = "none compiles" if best.refused else f"spills {spills:g}, cost {cost:g}"
        print(f"{best.key}: {cell(best.blocks)}: {found}", file=sys.stderr)
        tuned.add(best.key)
    if unknown := [key for key in KEYS.value if key not in tuned]:
        raise InputError(f"no case of {KERNEL.value} asks {TARGET.value} for {', '.join(unknown)}")


if __name__ == "__main__":
    command.run(main)
