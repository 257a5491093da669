"""The canvas: an agent paints an image stroke by stroke and is paid for what comes nearer to it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from research.data.scaling import scaled
from research.environments.environment import Box, Environment, Step, ended
from research.errors import InputError, check_least

THINNEST = 0.5  # a stroke's radius in pixels as its pressure goes to 0
EDGE = 0.35  # the width in pixels over which a stroke's edge fades


class Painting(NamedTuple):
    """The state of an episode: the canvas and the target in [-1, 1], and the strokes made."""

    canvas: Float[Array, "H W C"]
    target: Float[Array, "H W C"]
    strokes: Array


class Canvas(Environment):
    """`strokes` round, soft-edged strokes towards a target image, on a canvas of its shape.

    An action is 3 + C numbers in [-1, 1]: the place (x to the right, y down, edge to edge), the
    pressure (-1 is none) and the colour. A stroke pressed harder covers more and is wider, up to a
    radius of `brush` pixels. The reward is the decrease of `distance`; its sum over an episode is
    the whole decrease from the empty canvas, which has the shade `paper`.

    Observations (H, W, 2 C + 1) hold the canvas, the target and the share of strokes made. A row
    of the batch is `image`, integers 0..levels - 1 of shape (H, W, C): the next episode's target.
    """

    def __init__(
        self,
        *,
        image_shape: tuple[int, int, int],
        levels: int,
        strokes: int = 200,
        brush: float = 2.0,
        paper: float = -1.0,
    ):
        check_least(1, strokes=strokes)
        check_least(THINNEST, brush=brush)
        if not -1 <= paper <= 1:
            raise InputError(f"paper is {paper}; it must be in [-1, 1]")
        height, width, channels = image_shape
        self.image_shape, self.levels = tuple(image_shape), levels
        self.observation_shape = (height, width, 2 * channels + 1)
        self.action_space = Box(-1.0, 1.0, 3 + channels)
        self.max_steps, self.brush, self.paper = strokes, brush, paper

    def params(self, row: Mapping[str, Array]) -> Float[Array, "H W C"]:
        return scaled(row["image"], self.levels)

    def reset(self, key: Any, params: Array) -> tuple[Array, Painting]:
        painting = Painting(self.empty(), params, jnp.zeros((), jnp.int32))
        return self.observed(painting), painting

    def step(self, key: Any, state: Painting, action: Array, params: Array) -> Step:
        painting = Painting(self.stroke(state.canvas, action), state.target, state.strokes + 1)
        before = distance(state.canvas, state.target)
        return ended(
            self,
            key,
            params,
            observation=self.observed(painting),
            state=painting,
            reward=before - distance(painting.canvas, state.target),
            terminated=painting.strokes >= self.max_steps,
        )

    def observed(self, painting: Painting) -> Float[Array, "H W D"]:
        share = jnp.float32(painting.strokes) / self.max_steps
        clock = jnp.broadcast_to(share, (*self.image_shape[:2], 1))
        return jnp.concatenate([painting.canvas, painting.target, clock], axis=-1)

    def empty(self) -> Float[Array, "H W C"]:
        return jnp.full(self.image_shape, self.paper)

    def stroke(
        self, canvas: Float[Array, "H W C"], action: Float[Array, " A"]
    ) -> Float[Array, "H W C"]:
        """The canvas with one stroke more; one of no pressure leaves it as it is."""
        height, width, _ = self.image_shape
        pressure = (action[2] + 1) / 2
        column, row = (action[0] + 1) / 2 * (width - 1), (action[1] + 1) / 2 * (height - 1)
        rows, columns = jnp.arange(height)[:, None], jnp.arange(width)
        away = jnp.sqrt(jnp.square(rows - row) + jnp.square(columns - column))
        radius = THINNEST + (self.brush - THINNEST) * pressure
        cover = pressure * jax.nn.sigmoid((radius - away) / EDGE)
        return canvas + cover[..., None] * (action[3:] - canvas)

    def render(self, observation: Array) -> Float[Array, "H w C"]:
        """The canvas beside its target."""
        channels = self.image_shape[-1]
        canvas, target = observation[..., :channels], observation[..., channels:-1]
        return jnp.concatenate([canvas, target], axis=1)

    def baselines(self, key: Any, params: Array) -> dict[str, Float[Array, ""]]:
        """`perfect` is the return of reaching the target; the others are `random_search`'s."""
        start = distance(self.empty(), params)
        return {
            "perfect": start,
            "random_search": start - distance(random_search(self, key, params), params),
            "best_of_8_search": start - distance(random_search(self, key, params, tries=8), params),
        }


def distance(canvas: Float[Array, "H W C"], target: Float[Array, "H W C"]) -> Float[Array, ""]:
    """The mean squared difference, 0 to 4."""
    return jnp.mean(jnp.square(canvas - target))


def random_search(
    canvas: Canvas, key: Any, target: Float[Array, "H W C"], *, tries: int = 1
) -> Float[Array, "H W C"]:
    """A painting by greedy random search, in as many strokes as the canvas allows.

    Each stroke is the best of `tries` uniform ones, made only if it brings the canvas nearer.
    """

    def one(painted: Array, key: Any) -> tuple[Array, None]:
        strokes = canvas.action_space.sample(key, (tries,))
        tried = jax.vmap(canvas.stroke, in_axes=(None, 0))(painted, strokes)
        candidates = jnp.concatenate([painted[None], tried])
        best = jnp.argmin(jax.vmap(distance, in_axes=(0, None))(candidates, target))
        return candidates[best], None

    painted, _ = jax.lax.scan(one, canvas.empty(), jax.random.split(key, canvas.max_steps))
    return painted
