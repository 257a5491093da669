"""Accuracies while a model learns, of training and of validation: papers/grokking/curves.png.

python -m papers.grokking.curves
"""

import json
import math
import pathlib

from ml_collections import ConfigDict

from papers import trained
from papers.ledger import PAPERS_DIR, results
from research.errors import InputError
from research.experiment import build
from research.files import held
from research.run import described, metrics_on_test
from research.training.checkpoints import Checkpoints
from research.training.logs import JsonlWriter
from research.training.loop import Hook
from research.training.manifest import write_json
from research.training.state import TrainState

CONFIG = "configs/grokking.py:division"
EVERY = 25  # steps between two points of a curve
STAGE = 500  # steps after which it is asked whether to go on
REACHED = 0.99
COLOURS = {"tab:red": "training", "tab:green": "validation"}

Curve = list[tuple[int, float]]  # steps, accuracy


def config(seed: int = 0, *, weight_decay: float = 1.0) -> ConfigDict:
    """The seed's own weights and its own half of the equations; 4000 steps without decay."""
    overrides = {"data.draw": seed, "optimizer.weight_decay": weight_decay}
    if not weight_decay:
        overrides["steps"] = 4000
    return trained.config(CONFIG, seed=seed, overrides=overrides, save_every=STAGE, log_every=EVERY)


def curves(made: ConfigDict, name: str) -> tuple[Curve, Curve]:
    """Training accuracy, of each step's batch, and validation accuracy, of all other equations.

    Trained until validation has reached `REACHED`, at most to the config's last step, in
    `trained.folder`; one that was stopped goes on.

    Raises:
      InputError: training was stopped, or another process trains there.
    """
    folder = trained.folder(made, name)
    with held(folder):
        return trained_curves(made, folder)


def trained_curves(made: ConfigDict, folder: pathlib.Path) -> tuple[Curve, Curve]:
    experiment = build(made)
    checkpoints = Checkpoints(folder / "checkpoints", keep=1)
    start = checkpoints.latest or 0
    write_json(folder / "manifest.json", described(experiment, made, folder, kept=start or None))
    training, validation = (
        JsonlWriter(folder / f"{part}.jsonl", start=start) for part in ("training", "validation")
    )

    def validate(state: TrainState) -> None:
        accuracy = metrics_on_test(experiment, state)["accuracy"].mean
        validation.scalars(int(state.step), {"accuracy": accuracy})

    try:
        while start < made.steps and not is_reached(read(folder / "validation.jsonl", "accuracy")):
            start = min(start - start % STAGE + STAGE, made.steps)
            state = experiment.train(
                steps=start,
                checkpoints=checkpoints,
                checkpoint_every=STAGE,
                writers=[training],
                log_every=EVERY,
                hooks=[Hook(EVERY, validate)],
            )
            if int(state.step) < start:
                raise InputError(f"{folder} stopped at {int(state.step)}; the same command goes on")
    finally:
        for part in (training, validation, checkpoints):
            part.close()
    return (
        read(folder / "training.jsonl", "model/accuracy"),
        read(folder / "validation.jsonl", "accuracy"),
    )


def read(path: pathlib.Path, metric: str) -> Curve:
    lines = map(json.loads, path.read_text().splitlines())
    return [(line["step"], line[metric]) for line in lines]


def is_reached(curve: Curve) -> bool:
    return math.isfinite(first_reached(curve))


def first_reached(curve: Curve) -> float:
    """The first step of the curve at `REACHED` or above, infinity if there is none."""
    return min((step for step, value in curve if value >= REACHED), default=math.inf)


def draw() -> None:
    """Both curves of every measured seed over the logarithm of steps, as the paper's figure 1."""
    from matplotlib.figure import Figure

    measured = {
        weight_decay: list(map(int, results("grokking").get(claim, {}).get("seeds", {})))
        for claim, weight_decay in (("grokking.delay", 1.0), ("grokking.without_decay", 0.0))
    }
    shown = {weight_decay: seeds for weight_decay, seeds in measured.items() if seeds}
    figure = Figure(figsize=(4.5 * len(shown), 3.6), layout="constrained")
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for axes, (weight_decay, seeds) in zip(panels, shown.items(), strict=True):
        for seed in seeds:
            made = config(seed, weight_decay=weight_decay)
            both = curves(made, f"grokking-decay{weight_decay:g}-seed{seed}")
            for curve, colour, name in zip(both, COLOURS, COLOURS.values(), strict=True):
                label = name if seed == seeds[0] else None
                axes.plot(*zip(*curve, strict=True), color=colour, label=label, linewidth=1)
        axes.axhline(1 / made.data.modulus, color="0.6", linestyle=":", label="chance")
        axes.set(xscale="log", xlabel="steps", title=f"weight decay {weight_decay:g}")
    panels[0].set_ylabel("accuracy")
    panels[0].legend()
    figure.savefig(PAPERS_DIR / "grokking" / "curves.png", dpi=80)


if __name__ == "__main__":
    draw()
