"""Every world by its name; a constructor's keyword arguments are the config's keys."""

from collections.abc import Callable

from research.environments.analytic import Aimed, Delayed, Endless, Matched, Observed
from research.environments.canvas import Canvas
from research.environments.environment import Environment
from research.environments.gymnax_world import Gymnax

ENVIRONMENTS: dict[str, Callable[..., Environment]] = {
    "canvas": Canvas,
    "gymnax": Gymnax,
    "observed": Observed,
    "delayed": Delayed,
    "endless": Endless,
    "matched": Matched,
    "aimed": Aimed,
}
