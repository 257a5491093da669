"""What every test has: programs compiled by an earlier test are not compiled again."""

from launch.command import keep_compiled_programs

keep_compiled_programs()
