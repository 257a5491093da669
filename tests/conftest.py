"""What every test has: programs compiled by an earlier test are not compiled again."""

import os

from launch.command import keep_compiled_programs

# Read when Triton kernels are imported. What compiles them does so in a process without it.
os.environ["TRITON_INTERPRET"] = "1"

keep_compiled_programs()
