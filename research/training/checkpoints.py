"""Checkpoints: state, data iterator and manifest together, sealed by a hash of every file."""

import contextlib
import errno
import hashlib
import json
import os
import pathlib
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import grain.checkpoint
import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_utils

from research.errors import InputError, check_least
from research.training.state import TrainState

SEAL = "SHA256SUMS"


class Checkpoints:
    """The writer of one run's checkpoints; saves are asynchronous and appear whole or not at all.

    `report` receives one line for each damaged checkpoint found. A damaged one is moved into
    `damaged/` beside the directory, so that its step can be saved again.

    Raises:
      InputError: there are checkpoints and all are damaged, or `keep` is less than 1.
    """

    def __init__(
        self, directory: pathlib.Path, *, keep: int, report: Callable[[str], None] = print
    ):
        check_least(1, **{"checkpoint.keep": keep})
        self._directory = directory.absolute()
        self._directory.mkdir(parents=True, exist_ok=True)
        damaged = damaged_steps(self._directory)
        if damaged and len(damaged) == len(steps(self._directory)):
            raise InputError(
                f"{_none_whole(self._directory, damaged)}; to begin anew delete it, or choose "
                "another folder"
            )
        for step, reason in damaged.items():
            aside = self._directory.parent / "damaged" / str(step)
            shutil.rmtree(aside, ignore_errors=True)
            aside.parent.mkdir(exist_ok=True)
            shutil.move(self._directory / str(step), aside)
            report(f"checkpoint {self._directory / str(step)} is damaged ({reason}): now {aside}")
        self._manager = ocp.CheckpointManager(
            self._directory,
            options=ocp.CheckpointManagerOptions(
                max_to_keep=keep,
                cleanup_tmp_directories=True,
                async_options=ocp.AsyncOptions(post_finalization_callback=self._seal),
            ),
        )

    @property
    def latest(self) -> int | None:
        """The newest step that can be restored, None before the first save."""
        return self._manager.latest_step()

    def save(self, state: TrainState, iterator: Any, manifest: dict[str, Any]) -> None:
        """Starts saving the state under its own step; returns once the state may be donated."""
        items = ocp.args.Composite(
            state=ocp.args.PyTreeSave(state),
            data=grain.checkpoint.CheckpointSave(iterator),
            manifest=ocp.args.JsonSave(manifest),
        )
        with full_disk_is_an_os_error(self._directory):
            self._manager.save(int(state.step), args=items)

    def restore(self, like: TrainState, iterator: Any) -> TrainState:
        """The newest state, laid out as `like` (shapes and shardings), and `iterator` beside it."""
        items = {"data": grain.checkpoint.CheckpointRestore(iterator)}
        return _restore(self._manager, self.latest, like, **items)

    def wait(self) -> None:
        """Blocks until every save has ended; raises what a save raised."""
        with full_disk_is_an_os_error(self._directory):
            self._manager.wait_until_finished()
            self._manager.check_for_errors()

    def close(self) -> None:
        """Ends the last save and frees the threads."""
        self._manager.close()

    def _seal(self) -> None:
        # Orbax calls this when the files are final and the directory still has its temporary name.
        for directory in self._directory.glob("*.orbax-checkpoint-tmp*"):
            (directory / SEAL).write_text(json.dumps(file_hashes(directory), indent=1))


def load(directory: pathlib.Path, like: TrainState) -> TrainState:
    """The newest good state under `directory`, for reading, even while a trainer saves there.

    What is damaged is told on stderr, and left where it is.

    Raises:
      InputError: there is no checkpoint, or none that is whole.
    """
    damaged = damaged_steps(directory)
    good = [step for step in steps(directory) if step not in damaged]
    if not good:
        raise InputError(_none_whole(directory, damaged))
    for step, reason in damaged.items():
        print(f"checkpoint {directory / str(step)} is damaged ({reason})", file=sys.stderr)
    try:
        manager = ocp.CheckpointManager(
            directory.absolute(), options=ocp.CheckpointManagerOptions(read_only=True)
        )
        return _restore(manager, max(good), like)
    except Exception:
        if not _damage(directory / str(max(good))):
            raise
        return load(directory, like)  # a trainer that keeps few has deleted it meanwhile


def steps(directory: pathlib.Path) -> list[int]:
    """The steps saved under `directory`, whole or damaged, in their order."""
    return sorted(int(path.name) for path in directory.glob("*") if path.name.isdigit())


def damaged_steps(directory: pathlib.Path) -> dict[int, str]:
    """The steps whose files are not those that were sealed, and why."""
    reasons = {step: _damage(directory / str(step)) for step in steps(directory)}
    return {step: reason for step, reason in reasons.items() if reason}


def file_hashes(directory: pathlib.Path) -> dict[str, str]:
    """SHA-256 of each item's files; Orbax's own note beside the items may still change."""
    files = sorted(path for path in directory.glob("*/**/*") if path.is_file())
    return {str(path.relative_to(directory)): sha256(path) for path in files}


def sha256(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def full_disk_is_an_os_error(directory: pathlib.Path) -> Iterator[None]:
    """TensorStore calls a full disk a ValueError: raises the OSError that it is."""
    try:
        yield
    except ValueError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(directory)) from error


def _none_whole(directory: pathlib.Path, damaged: Mapping[int, str]) -> str:
    reasons = "; ".join(f"{step}: {reason}" for step, reason in damaged.items())
    return f"no whole checkpoint in {directory} ({reasons or 'it is empty'})"


def _damage(directory: pathlib.Path) -> str | None:
    try:
        sealed = json.loads((directory / SEAL).read_text())
    except (OSError, ValueError):
        return f"{SEAL} is missing or unreadable"
    try:
        found = file_hashes(directory)
    except OSError as error:  # a trainer that keeps few deletes the oldest meanwhile
        return f"{error.filename} cannot be read: {error.strerror}"
    wrong = sorted(name for name in sealed | found if sealed.get(name) != found.get(name))
    return f"{wrong[0]} is not what was saved" if wrong else None


def _restore(
    manager: ocp.CheckpointManager, step: int | None, like: TrainState, **items: Any
) -> TrainState:
    shardings = jax.tree.map(lambda leaf: leaf.sharding, like)
    arguments = checkpoint_utils.construct_restore_args(like, shardings)
    state = ocp.args.PyTreeRestore(like, restore_args=arguments)
    try:
        return manager.restore(step, args=ocp.args.Composite(state=state, **items))["state"]
    except ValueError as error:
        raise InputError(
            f"checkpoint {step} in {manager.directory} was made by other code, its state does not "
            f"fit: {' '.join(str(error).split())[:300]}"
        ) from error
