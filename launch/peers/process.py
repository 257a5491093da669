"""A peer's process, in a virtual environment of its own that is kept in the cache."""

import contextlib
import functools
import hashlib
import pathlib
import subprocess
import sys
from collections.abc import Iterator, Sequence

from research.configuration import TREE
from research.data.sources import cache_dir
from research.errors import InputError
from research.files import turn

Process = subprocess.Popen[str]


@contextlib.contextmanager
def started(module: str, requirements: Sequence[str], data: pathlib.Path) -> Iterator[Process]:
    """The peer's page `module` as a process; its one argument is a file of the training arrays."""
    peer = subprocess.Popen(
        [environment(requirements) / "bin" / "python", "-m", module, data],
        cwd=TREE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield peer
    finally:
        peer.kill()
        peer.communicate()  # closes its pipes, also where it never read what it was asked


def stretch(peer: Process, steps: int) -> float:
    """The seconds that the peer takes for so many steps. Raises InputError if it ended."""
    return asked(peer, str(steps))


def score(peer: Process) -> float:
    """What the peer has learned, by its own measure of the test data."""
    return asked(peer, "score")


def asked(peer: Process, line: str) -> float:
    assert peer.stdin and peer.stdout
    answer = ""
    with contextlib.suppress(BrokenPipeError):
        peer.stdin.write(f"{line}\n")
        peer.stdin.flush()
        answer = peer.stdout.readline()
    if not answer:
        raise InputError(f"the peer's process ended with exit code {peer.wait()}")
    return float(answer)


def environment(requirements: Sequence[str]) -> pathlib.Path:
    """A virtual environment with these packages, made at the first call.

    Raises:
      InputError: they cannot be installed.
    """
    key = hashlib.sha256(" ".join((sys.version, *requirements)).encode()).hexdigest()[:12]
    folder = cache_dir() / "peers" / key
    folder.parent.mkdir(parents=True, exist_ok=True)
    with turn(folder.parent):
        if not (folder / "installed").exists():
            install(requirements, folder)
    return folder


def install(requirements: Sequence[str], folder: pathlib.Path) -> None:
    print(f"installing {', '.join(requirements)}, this once", file=sys.stderr)
    run = functools.partial(subprocess.run, check=True, stdout=subprocess.DEVNULL)
    try:
        run([sys.executable, "-m", "venv", "--clear", folder])
        run([folder / "bin" / "pip", "install", "--quiet", *requirements])
    except subprocess.CalledProcessError as error:
        raise InputError(f"{', '.join(requirements)} cannot be installed: {error}") from error
    (folder / "installed").touch()
