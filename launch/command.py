"""What every command shares: flags, errors in one line, compiled programs that are kept."""

import ctypes
import errno
import os
import pathlib
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

from absl import app, flags, logging

from research.configuration import found, load_config, unknown_key
from research.errors import InputError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def run(main: Callable[[list[str]], Any], *, extra_flags: bool = False) -> None:
    """Runs `main(argv)` as an absl app; bad input ends in one line on stderr and exit code 1.

    With `extra_flags`, flags that are not defined reach `main` in argv.
    """

    def parse(argv: Sequence[str]) -> list[str]:
        try:
            return flags.FLAGS(with_config(argv), known_only=extra_flags)
        except (flags.Error, InputError) as error:
            sys.exit(_line(error))

    def guarded(argv: list[str]) -> None:
        if argv[1:] and not extra_flags:
            sys.exit(_line(InputError(f"{argv[1]} is no flag: flags are --name=value")))
        # Libraries log what their threads raised; it is raised here too, and told once.
        logging.set_verbosity(logging.FATAL)
        keep_compiled_programs()
        keep_memory()
        try:
            main(argv)
            sys.stdout.flush()
        except InputError as error:
            sys.exit(_line(error))
        except KeyboardInterrupt:
            print(f"{_command()}: stopped", file=sys.stderr)
            sys.exit(130)  # as shells have it of an interrupted command
        except BrokenPipeError:
            # Who read the output has gone, as `head` does: nothing is told at exit either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                full = InputError(f"the disk is full: {error.filename or error}")
                print(_line(full), file=sys.stderr, flush=True)
                # Exit handlers would flush event files, and fail on the full disk again.
                os._exit(1)
            if error.filename is None:
                raise
            sys.exit(_line(InputError(f"cannot use {error.filename}: {error.strerror}")))

    app.run(guarded, flags_parser=parse)


def workdir(help: str) -> flags.FlagHolder[str]:
    """Defines the flag that every command of a run needs: its folder, and not by an empty name."""
    holder = flags.DEFINE_string("workdir", None, help, required=True)
    flags.register_validator("workdir", lambda name: name != "", message="it names no folder")
    return holder


def keep_compiled_programs() -> None:
    """Lets XLA keep what it compiled from one command to the next."""
    import jax

    from research.data.sources import cache_dir

    jax.config.update("jax_compilation_cache_dir", str(cache_dir() / "xla"))


def keep_memory() -> None:
    """Lets the C library keep what XLA frees from one step to the next, where it is glibc.

    It would give large blocks back to the system, and a step would wait for all its pages anew: a
    quarter of a small transformer's step on a CPU.
    """
    allocator = getattr(ctypes.CDLL(None), "mallopt", None)
    if allocator:
        allocator(M_MMAP_THRESHOLD, 2**30)
        allocator(M_TRIM_THRESHOLD, 2**31 - 1)


def with_config(argv: Sequence[str]) -> list[str]:
    """argv with the path of its config file from here, if it has one; absl's flags open that.

    Raises:
      InputError: it names no config file or variant, or a key that the config lacks.
    """
    argv = [re.sub("^--?config(?=[=.]|$)", "--config", arg) for arg in argv]  # absl takes both
    paths = [arg.split("=")[0].split(".", 1)[1] for arg in argv if arg.startswith("--config.")]
    for place, arg in enumerate(argv[1:], 1):
        if arg.startswith("--config=") or argv[place - 1] == "--config":
            name = arg.removeprefix("--config=")
            config = load_config(name)
            if unknown := [line for path in paths if (line := unknown_key(config, path))]:
                raise InputError(unknown[0])
            argv[place] = arg.removesuffix(name) + found(name)
    return argv


def _line(error: Exception) -> str:
    return f"{_command()}: error: {' '.join(str(error).split())}"


def _command() -> str:
    return pathlib.Path(sys.argv[0]).stem
