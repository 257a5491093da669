"""Files that are whole or not there, and folders that one process at a time works in."""

import contextlib
import fcntl
import os
import pathlib
import uuid
from collections.abc import Iterator

from research.errors import InputError


def user_path(name: str) -> pathlib.Path:
    """The path that a user named; `~` is a home, and stays where there is no such user.

    `pathlib.Path.expanduser` raises RuntimeError there; so it is a file that isn't found.
    """
    return pathlib.Path(os.path.expanduser(name))


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes the file whole or leaves what is there: a reader never sees half of it."""
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def turn(folder: pathlib.Path) -> Iterator[None]:
    """Waits until nobody else is inside it with `folder`."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


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
