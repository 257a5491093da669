"""What every command shares: flags, errors in one line, compiled programs that are kept."""

import errno
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from absl import app, flags, logging
from ml_collections import ConfigDict

from research.errors import InputError, nearest


def run(main: Callable[[list[str]], Any], *, extra_flags: bool = False) -> None:
    """Runs `main(argv)` as an absl app; bad input ends in one line on stderr and exit code 1.

    With `extra_flags`, flags that are not defined reach `main` in argv.
    """

    def parse(argv: Sequence[str]) -> list[str]:
        try:
            return flags.FLAGS(argv, known_only=extra_flags)
        except (flags.Error, AttributeError, KeyError, OSError, InputError) as error:
            sys.exit(_line(InputError(flag_error(error, argv))))

    def guarded(argv: list[str]) -> None:
        logging.set_verbosity(logging.ERROR)
        keep_compiled_programs()
        try:
            main(argv)
        except InputError as error:
            sys.exit(_line(error))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            sys.exit(_line(InputError(f"the disk is full: {error.filename or error}")))

    app.run(guarded, flags_parser=parse)


def keep_compiled_programs() -> None:
    """Lets XLA keep what it compiled from one command to the next."""
    import jax

    from research.data.sources import cache_dir

    jax.config.update("jax_compilation_cache_dir", str(cache_dir() / "xla"))


def flag_error(error: Exception, argv: Sequence[str]) -> str:
    """One line for what flag parsing raised; an unknown config key is named with its nearest."""
    paths = [arg.split("=")[0].split(".", 1)[1] for arg in argv if arg.startswith("--config.")]
    files = [arg.split("=", 1)[1] for arg in argv if arg.startswith("--config=")]
    if isinstance(error, InputError) or not (paths and files):
        return str(error).replace("\n", " ")
    from research.experiment import load_config

    config = load_config(files[-1])
    unknown = [line for path in paths if (line := unknown_key(config, path))]
    return unknown[0] if unknown else str(error).replace("\n", " ")


def unknown_key(config: ConfigDict, path: str) -> str | None:
    """Says where the dotted `path` leaves the config and which keys are near, None if it exists."""
    *sections, key = path.split(".")
    for depth, section in enumerate(sections):
        if not isinstance(config.get(section), ConfigDict):
            key, sections = section, sections[:depth]
            break
        config = config[section]
    if key in config:
        return None
    where = ".".join(["config", *sections])
    return f"{where} has no key {key!r}; {nearest(key, config.keys())}"


def _line(error: Exception) -> str:
    return f"{os.path.basename(sys.argv[0]).removesuffix('.py')}: error: {error}"
