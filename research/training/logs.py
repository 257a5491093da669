"""Metric writers: JSONL, TensorBoard, picture files and a progress bar, all fed alike."""

import abc
import json
import math
import pathlib
import sys
import time
from collections.abc import Mapping
from typing import Any

import rich.console
import rich.progress

from research.files import write_text
from research.training import pictures

SECONDS_BETWEEN_LINES = 10


class Writer(abc.ABC):
    """Receives what a run measures; `step` counts finished steps."""

    @abc.abstractmethod
    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Values by name."""

    def artefact(self, step: int, name: str, values: Any) -> None:  # noqa: B027 (not all show any)
        """Something of a kind that `pictures` knows; a writer without pictures passes it over."""

    def close(self) -> None:  # noqa: B027 (not all hold any)
        """Flushes and frees what the writer holds."""


class JsonlWriter(Writer):
    """One JSON object a line. Resumed at `start`, it drops the lines beyond: they come anew."""

    def __init__(self, path: pathlib.Path, *, start: int = 0):
        kept = [line for line in _whole_lines(path) if line["step"] <= start]
        write_text(path, "".join(json.dumps(line) + "\n" for line in kept))
        self._file = path.open("a")

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def _whole_lines(path: pathlib.Path) -> list[dict[str, Any]]:
    # A killed run may leave half a line at the end.
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}\n")]


class TensorBoardWriter(Writer):
    """TensorBoard event files in `directory`; events beyond `start` are purged."""

    def __init__(self, directory: pathlib.Path, *, start: int = 0):
        from tensorboardX import SummaryWriter  # imports protobuf: 0.3 s that not all runs need

        self._writer = SummaryWriter(str(directory), purge_step=start + 1)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def artefact(self, step: int, name: str, values: Any) -> None:
        if pictures.kind(name) == "texts":
            self._writer.add_text(name, "\n\n".join(f"    {text}" for text in values), step)
        else:
            self._writer.add_image(name, pictures.still(name, values), step, dataformats="HWC")

    def close(self) -> None:
        self._writer.close()


class PictureWriter(Writer):
    """Writes each artefact as `directory/NAME_STEP.png`, `.gif` where it moves, `.txt` of texts."""

    def __init__(self, directory: pathlib.Path):
        self._directory = directory

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        pass

    def artefact(self, step: int, name: str, values: Any) -> None:
        pictures.save(name, values, self._directory / f"{name}_{step:07d}")


class AlarmWriter(Writer):
    """Warns on standard error when a metric falls below its alarm, once until it has recovered."""

    def __init__(self, alarms: Mapping[str, float]):
        self._alarms, self._low = alarms, set[str]()

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        for name, least in self._alarms.items():
            if name in values and values[name] >= least:
                self._low.discard(name)
            elif name in values and name not in self._low:
                self._low.add(name)
                print(
                    f"step {step}: {name} fell to {values[name]:.3g}, below {least:g}",
                    file=sys.stderr,
                )


class ProgressWriter(Writer):
    """A progress bar with rate and time left; plain lines where standard error is no terminal."""

    def __init__(self, total: int, *, start: int = 0):
        self._console = rich.console.Console(stderr=True, highlight=False)
        self._total, self._spoken = total, -math.inf
        self._progress = rich.progress.Progress(
            rich.progress.TextColumn("step {task.completed:.0f}/{task.total:.0f}"),
            rich.progress.BarColumn(),
            rich.progress.TextColumn("{task.fields[line]}"),
            console=self._console,
            refresh_per_second=2,
            disable=not self._console.is_terminal,
        )
        self._task = self._progress.add_task("", total=total, completed=start, line="compiling")
        self._progress.start()

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        rate = values["steps_per_second"]
        left = f"{(self._total - step) / rate:.0f} s left"
        losses = [f"{name} {value:.4g}" for name, value in values.items() if "loss" in name]
        line = f"{rate:.1f} steps/s  {left}  {'  '.join(losses)}"
        self._progress.update(self._task, completed=step, line=line)
        is_due = time.monotonic() - self._spoken > SECONDS_BETWEEN_LINES or step == self._total
        if not self._console.is_terminal and is_due:
            self._spoken = time.monotonic()
            self._console.print(f"step {step}/{self._total}  {line}", soft_wrap=True)

    def close(self) -> None:
        self._progress.stop()
