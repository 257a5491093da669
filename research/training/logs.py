"""Metric writers: JSONL, TensorBoard, PNG grids and a progress bar, all fed alike by the loop."""

import abc
import json
import math
import pathlib
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import rich.console
import rich.progress
from jaxtyping import Float, UInt8
from PIL import Image

SECONDS_BETWEEN_LINES = 10


class Writer(abc.ABC):
    """Receives what a run measures; `step` counts finished steps."""

    @abc.abstractmethod
    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Values by name."""

    def images(self, step: int, name: str, images: Any) -> None:  # noqa: B027 (not all show any)
        """Images (N, H, W, C) in [-1, 1]; a writer without pictures passes them over."""

    def close(self) -> None:  # noqa: B027 (not all hold any)
        """Flushes and frees what the writer holds."""


class JsonlWriter(Writer):
    """One JSON object a line. Resumed at `start`, it drops the lines beyond: they come anew."""

    def __init__(self, path: pathlib.Path, *, start: int = 0):
        kept = [line for line in _whole_lines(path) if line["step"] <= start]
        path.write_text("".join(json.dumps(line) + "\n" for line in kept))
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

    def images(self, step: int, name: str, images: Any) -> None:
        self._writer.add_image(name, image_grid(images), step, dataformats="HWC")

    def close(self) -> None:
        self._writer.close()


class GridWriter(Writer):
    """Writes each image batch as `directory/NAME_STEP.png`."""

    def __init__(self, directory: pathlib.Path):
        self._directory = directory

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        pass

    def images(self, step: int, name: str, images: Any) -> None:
        self._directory.mkdir(exist_ok=True)
        save_grid(images, self._directory / f"{name}_{step:07d}.png")


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


def image_grid(images: Any, *, columns: int | None = None) -> UInt8[np.ndarray, "h w c"]:
    """Images (N, H, W, C) in [-1, 1] as one near-square picture, small ones enlarged to be seen."""
    images = np.asarray(images)
    count, height, width, channels = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    scale = max(1, 32 // max(height, width))
    tiles = np.full((rows * columns, height + 1, width + 1, channels), -1.0, np.float32)
    tiles[:count, :height, :width] = images
    grid = tiles.reshape(rows, columns, height + 1, width + 1, channels).swapaxes(1, 2)
    grid = grid.reshape(rows * (height + 1), columns * (width + 1), channels)
    grid = grid.repeat(scale, 0).repeat(scale, 1)
    return to_uint8(grid if channels == 3 else grid[..., :1].repeat(3, -1))


def to_uint8(images: Float[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """[-1, 1] -> 0..255, clipped."""
    return np.clip(np.round((images + 1) * 127.5), 0, 255).astype(np.uint8)


def save_grid(images: Any, path: pathlib.Path, *, columns: int | None = None) -> None:
    """Writes images (N, H, W, C) in [-1, 1] as one PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image_grid(images, columns=columns)).save(path)
