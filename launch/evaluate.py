"""Scores a trained run: its samples beside real data and trivial baselines, and its test metrics.

python -m launch.evaluate --workdir=runs/digits

python -m launch.evaluate --workdir=runs/text --task=next_line [--shots=2] [--count=500]

Writes WORKDIR/scores.json, and in WORKDIR/samples the first hundred samples and what helps to judge
them by eye: the nearest of 10,000 training images and, where there is one, the latent space. A
task's scores are printed alone.
"""

import pathlib
from typing import Any

import jax
from absl import flags

from launch import command
from research.configuration import MOST_SEED
from research.errors import InputError

WORKDIR = command.workdir("The run to evaluate.")
COUNT = flags.DEFINE_integer(
    "count", None, "How many samples; by default as the config says.", lower_bound=0
)
TASK = flags.DEFINE_string("task", None, "Questions for a language model, in place of samples.")
SHOTS = flags.DEFINE_integer("shots", 0, "Solved questions before each of a task's.", lower_bound=0)
SEED = flags.DEFINE_integer("seed", 0, "Seed of the draws.", lower_bound=0, upper_bound=MOST_SEED)
SHOWN = 100


def main(argv: list[str]) -> None:
    from research.run import check_data, draw, metrics_on_test, restore
    from research.scores.artefacts import check_count, score
    from research.scores.inspection import inspection
    from research.scores.table import print_scores, write_scores
    from research.training import pictures
    from research.training.manifest import git_state, read_json
    from research.training.sharding import sharing

    if SHOTS.present and TASK.value is None:
        raise InputError("--shots are solved questions of a --task; name one")
    workdir, git = pathlib.Path(WORKDIR.value), git_state()
    experiment, state = restore(workdir)
    if TASK.value is not None:
        with sharing(experiment.mesh):
            evaluate_task(experiment.method, state, TASK.value)
        return
    check_data(experiment, read_json(workdir / "manifest.json"), workdir)
    count = experiment.evaluate["count"] if COUNT.value is None else COUNT.value
    check_count(experiment, count)
    scores, shown = [], []
    if count:
        artefacts = draw(experiment, state, jax.random.key(SEED.value), count=count)
        scores = score(artefacts, experiment.train_data, experiment.test_data)
        seen = {name: values[:SHOWN] for name, values in artefacts.items() if pictures.kind(name)}
        shown = [
            pictures.save(name, values, workdir / "samples" / f"scored_{name}")
            for name, values in (seen | inspection(experiment, state, artefacts)).items()
        ]
    metrics = metrics_on_test(experiment, state)
    trivial = experiment.method.trivial(experiment.train_data, experiment.test_data)
    write_scores(
        workdir / "scores.json",
        scores,
        test_metrics=metrics,
        trivial=trivial,
        step=int(state.step),
        seed=SEED.value,
        git=git,
    )
    if scores:
        print_scores(scores)
    for name, estimate in metrics.items():
        print(
            f"{name} on the {estimate.examples} test examples: "
            f"{estimate.mean:.4g} +- {estimate.standard_error:.2g}"
            + "".join(f", {model} {value:.4g}" for model, value in trivial.get(name, {}).items())
        )
    print(f"step {int(state.step)} of {workdir}, where there is now:")
    for path in sorted(workdir.iterdir()):
        print(f"  {path}{'/' if path.is_dir() else ''}")
    for path in shown:
        print(f"the samples: {path}")


def evaluate_task(method: Any, state: Any, task: str) -> None:
    from research.data.choice_tasks import questions
    from research.scores.choices import score_choices
    from research.scores.table import print_scores
    from research.training.method import TextRanker

    if not isinstance(method, TextRanker):
        raise InputError("--task is for a model of texts; this run is of none that ranks them")
    count = 500 if COUNT.value is None else COUNT.value
    asked = questions(task, count=count, shots=SHOTS.value, seed=SEED.value)
    try:
        scores = score_choices(method, state, asked, f"{task},shots={SHOTS.value}")
    except InputError as error:
        raise InputError(f"--task={task} can't be asked: {error}") from error
    print_scores(scores)


if __name__ == "__main__":
    command.run(main)
