"""Figures of Matplotlib as arrays of pixels."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import UInt8


def square_picture(draw: Callable[[Any], object], *, side: int) -> UInt8[np.ndarray, "h w 3"]:
    """What `draw(axes)` draws on axes of one scale, `side` pixels wide and high."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(side / 100, side / 100), dpi=100, layout="constrained")
    renderer = FigureCanvasAgg(figure)
    draw(figure.add_subplot(aspect="equal"))
    renderer.draw()
    return np.asarray(renderer.buffer_rgba())[..., :3].copy()
