"""What methods draw, to look at: grids of images, points in the plane, moving frames, texts."""

import math
import pathlib
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from research.errors import InputError
from research.evaluation.figures import square_picture

KINDS = ("images", "points", "frames", "texts")
SUFFIXES = {"frames": ".gif", "texts": ".txt"}  # others are .png
RULE = "\n" + 80 * "-" + "\n"
FRAME_MS, LAST_FRAME_MS = 40, 2000

Picture = UInt8[np.ndarray, "h w 3"]


def kind(name: str) -> str | None:
    """The kind of an artefact, its name's last word; None for what is not shown, as `labels`.

    `images` are (N, H, W, C) in [-1, 1], `points` (N, 2), `frames` (N, T, H, W, C) in [-1, 1],
    `texts` N strings.
    """
    word = name.rsplit("_", 1)[-1]
    return word if word in KINDS else None


def still(name: str, values: Any) -> Picture:
    """An artefact as one picture; of frames the last. Texts have none."""
    values = np.asarray(values)
    if kind(name) == "points":
        return scatter(values)
    return image_grid(values[:, -1] if kind(name) == "frames" else values)


def save(name: str, values: Any, stem: pathlib.Path) -> pathlib.Path:
    """Writes an artefact as STEM.png, .gif where it moves, .txt of texts, and returns the path."""
    path = stem.with_name(stem.name + SUFFIXES.get(kind(name) or "", ".png"))
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind(name) == "texts":
        path.write_text(RULE.join([*values, ""]), encoding="utf-8")
    elif kind(name) == "frames":
        first, *rest = [Image.fromarray(image_grid(now)) for now in np.swapaxes(values, 0, 1)]
        durations = [*[FRAME_MS] * len(rest), LAST_FRAME_MS]
        first.save(path, save_all=True, append_images=rest, duration=durations, loop=0)
    else:
        Image.fromarray(still(name, values)).save(path)
    return path


def image_grid(images: Any, *, columns: int | None = None) -> Picture:
    """Images (N, H, W, C) in [-1, 1] as one near-square picture, small ones enlarged to be seen."""
    images = np.asarray(images)
    count, height, width, channels = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    scale = max(1, 32 // min(height, width))
    tiles = np.full((rows * columns, height + 1, width + 1, channels), -1.0, np.float32)
    tiles[:count, :height, :width] = images
    grid = tiles.reshape(rows, columns, height + 1, width + 1, channels).swapaxes(1, 2)
    grid = grid.reshape(rows * (height + 1), columns * (width + 1), channels)
    grid = grid.repeat(scale, 0).repeat(scale, 1)
    return to_uint8(grid if channels == 3 else grid[..., :1].repeat(3, -1))


def to_uint8(images: Float[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """[-1, 1] -> 0..255, clipped."""
    return np.clip(np.round((images + 1) * 127.5), 0, 255).astype(np.uint8)


def scatter(points: Float[np.ndarray, "N D"]) -> Picture:
    """Points in the plane with axes of one scale. Raises InputError unless D is 2."""
    if points.shape[1:] != (2,):
        raise InputError(f"points of shape {points.shape} can't be drawn; (N, 2) can")
    return square_picture(
        lambda axes: axes.scatter(points[:, 0], points[:, 1], s=2, alpha=0.3, linewidths=0),
        side=400,
    )
