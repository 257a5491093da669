"""Scores a trained run: its samples beside real data and trivial baselines, and its test metrics.

python -m launch.evaluate --workdir=runs/digits

Writes WORKDIR/scores.json and the scored samples' first hundred as WORKDIR/samples/scored.png.
"""

import pathlib

import jax
from absl import flags

from launch import command

WORKDIR = flags.DEFINE_string("workdir", None, "The run to evaluate.", required=True)
COUNT = flags.DEFINE_integer("count", None, "How many samples; by default as the config says.")
SEED = flags.DEFINE_integer("seed", 0, "Seed of the draws.")


def main(argv: list[str]) -> None:
    from research.run import draw, metrics_on_test, restore
    from research.scores import print_scores, score_images, write_scores
    from research.training.logs import save_grid

    workdir = pathlib.Path(WORKDIR.value)
    experiment, state = restore(workdir)
    count = experiment.evaluate["count"] if COUNT.value is None else COUNT.value
    scores = []
    if count:
        images = draw(experiment, state, jax.random.key(SEED.value), count=count)
        save_grid(images[:100], workdir / "samples" / "scored.png")
        scores = score_images(images, experiment.train_data.name)
    metrics = metrics_on_test(experiment, state)
    write_scores(workdir / "scores.json", scores, test_metrics=metrics)
    if scores:
        print_scores(scores)
    for name, estimate in metrics.items():
        print(
            f"{name} on the {estimate.examples} test examples: "
            f"{estimate.mean:.4g} +- {estimate.standard_error:.2g}"
        )
    print(f"step {int(state.step)} of {workdir}, where there is now:")
    for path in sorted(workdir.iterdir()):
        print(f"  {path}{'/' if path.is_dir() else ''}")
    if scores:
        print(f"the samples: {workdir / 'samples' / 'scored.png'}")


if __name__ == "__main__":
    command.run(main)
