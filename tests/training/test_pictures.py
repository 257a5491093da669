"""Pictures: kinds by name, grids, points, frames that move."""

import numpy as np
import pytest
from PIL import Image

from research.errors import InputError
from research.training import pictures


@pytest.mark.parametrize(
    ("name", "kind"),
    [("images", "images"), ("map_points", "points"), ("frames", "frames"), ("labels", None)],
)
def test_the_last_word_is_the_kind(name, kind):
    assert pictures.kind(name) == kind


def test_a_grid_keeps_every_image_in_its_place():
    images = np.linspace(-1, 1, 4)[:, None, None, None] * np.ones((1, 64, 64, 1))
    grid = pictures.image_grid(images)
    assert grid.shape == (130, 130, 3)
    shown = [grid[r, c, 0] for r in (5, 70) for c in (5, 70)]
    np.testing.assert_array_equal(shown, np.round((np.linspace(-1, 1, 4) + 1) * 127.5))


@pytest.mark.parametrize(("size", "shown"), [((8, 8), 36), ((8, 16), 36), ((40, 8), 164)])
def test_small_images_are_enlarged_until_their_shorter_side_is_seen(size, shown):
    assert pictures.image_grid(np.zeros((1, *size, 1))).shape[0] == shown


def test_frames_become_a_gif_of_as_many(tmp_path):
    frames = np.linspace(-1, 1, 5)[None, :, None, None, None] * np.ones((3, 1, 8, 8, 1))
    path = pictures.save("frames", frames.astype(np.float32), tmp_path / "painted.v2")
    assert path.name == "painted.v2.gif"
    with Image.open(path) as gif:
        assert gif.n_frames == 5
        shown_ms = []
        for frame in range(gif.n_frames):
            gif.seek(frame)
            shown_ms.append(gif.info["duration"])
        assert shown_ms == [40] * 4 + [2000]
    last = pictures.still("frames", frames)
    np.testing.assert_array_equal(last, pictures.image_grid(frames[:, -1]))


def test_points_are_where_they_are(tmp_path):
    right = np.array([[1.0, 0.0]]).repeat(500, 0) * np.linspace(0.5, 1, 500)[:, None]
    picture = pictures.still("points", np.concatenate([right, [[-1.0, 0.0]]]))
    blue = picture[..., 2].astype(int) - picture[..., 0] > 60
    ink = blue.sum(axis=0)
    assert ink[len(ink) // 2 :].sum() > 5 * ink[: len(ink) // 2].sum()
    with pytest.raises(InputError, match="can't be drawn"):
        pictures.still("points", np.zeros((4, 3)))
