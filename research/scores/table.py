"""The table of scores: written, read back, printed."""

import dataclasses
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import rich.box
import rich.console
import rich.table
import rich.text

from research.errors import InputError
from research.run import Estimate
from research.training.manifest import read_json, write_json

SCHEMA_VERSION = 1

Better = Literal["lower", "higher"]


@dataclasses.dataclass(frozen=True)
class Score:
    """One row. `floor` is what real test data gets by the same means and count.

    `extractor` names the network whose features are compared, where there is one.
    """

    metric: str
    value: float
    floor: float
    baselines: dict[str, float]
    better: Better
    sample_count: int
    extractor: str | None = None
    extractor_sha256: str | None = None


def write_scores(
    path: pathlib.Path,
    scores: Sequence[Score],
    *,
    test_metrics: Mapping[str, Estimate],
    trivial: Mapping[str, Mapping[str, float]],
    step: int,
    seed: int,
    git: Mapping[str, Any],
) -> None:
    """Writes `scores.json`: the scores of samples, and the method's metrics on the test set.

    `trivial` is what trivial models get of those, by metric and model. What isn't finite is null.
    They are of the state after `step` and of draws from `seed`, by the code of `git`.
    """
    content = {
        "schema_version": SCHEMA_VERSION,
        "step": step,
        "seed": seed,
        "git": git,
        "scores": [dataclasses.asdict(score) for score in scores],
        "test_metrics": {name: finite(metric._asdict()) for name, metric in test_metrics.items()},
        "trivial": {name: dict(models) for name, models in trivial.items()},
    }
    write_json(path, content)


def finite(values: Mapping[str, float]) -> dict[str, float | None]:
    """JSON has no NaN."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def read_scores(path: pathlib.Path) -> list[Score]:
    """The scores of samples that `write_scores` wrote; raises InputError as `read` does."""
    return [Score(**row) for row in read(path)["scores"]]


def read_test_metrics(path: pathlib.Path) -> dict[str, Estimate]:
    """The metrics on the test set that `write_scores` wrote; raises InputError as `read` does."""
    return {name: Estimate(**metric) for name, metric in read(path)["test_metrics"].items()}


def read(path: pathlib.Path) -> dict[str, Any]:
    """A `scores.json`. Raises InputError: no such file, damaged, or another schema version."""
    if not path.exists():
        raise InputError(f"{path} is missing (launch.evaluate writes it)")
    content = read_json(path)
    if content["schema_version"] != SCHEMA_VERSION:
        found = content["schema_version"]
        raise InputError(f"{path} has schema version {found}, this code reads {SCHEMA_VERSION}")
    return content


def print_scores(scores: Sequence[Score]) -> None:
    """Prints a table: ours, real data's and the baselines'; an arrow points to the better end.

    The scores share their baselines.
    """
    baselines = list(scores[0].baselines)
    table = rich.table.Table(box=rich.box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("metric", overflow="fold")
    for column in ("", "ours", "floor", *("\n".join(name.rsplit("_", 1)) for name in baselines)):
        table.add_column(column.replace("_", "-"), justify="right", no_wrap=True)
    for score in scores:
        values = (score.value, score.floor, *(score.baselines[name] for name in baselines))
        arrow = {"lower": "↓", "higher": "↑"}[score.better]
        name, bracket, details = score.metric.partition("[")
        row = rich.text.Text.assemble(name, "\n", (f"  {bracket}{details}", "dim"))
        table.add_row(row, arrow, *(f"{value:.4g}" for value in values))
    rich.console.Console(highlight=False).print(table)
