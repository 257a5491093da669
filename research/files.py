"""Files that are whole or not there, and folders that one process at a time works in."""

import contextlib
import fcntl
import pathlib
from collections.abc import Iterator

from research.errors import InputError


@contextlib.contextmanager
def held(folder: pathlib.Path) -> Iterator[None]:
    """Makes `folder`, and holds it against other processes.

    Raises:
      InputError: another one holds it, or it is no folder that can be written in.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError as error:
        raise InputError(f"cannot write in {folder}: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"another process works in {folder}: wait for its end, or choose another folder"
            ) from error
        yield
