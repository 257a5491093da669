"""Samples from a trained run, and writes what it draws.

python -m launch.sample --workdir=runs/digits --count=64 --solver=ddim --steps=50 --guidance=2 \
    --out=samples.png
python -m launch.sample --workdir=runs/shakespeare --prompt="ROMEO." --strategy=nucleus --top_p=0.9

Beside the flags below, each keyword argument of the method's `sample` is a flag (a wrong one is
answered with the right ones); what is not given is as the run's config has it. What is drawn after
examples, as a painting is, is drawn after those of the test set, from the first on. One text is
printed as it comes, unless --out names a file.
"""

import inspect
import pathlib
from ast import literal_eval
from collections.abc import Callable, Sequence
from typing import Any, get_args, get_type_hints

import jax
from absl import flags

from launch import command
from research.configuration import MOST_SEED, fits, in_words
from research.errors import InputError, nearest

WORKDIR = command.workdir("The run to sample from.")
COUNT = flags.DEFINE_integer(
    "count",
    None,
    "How many to draw; by default 64, and 1 of a model that continues a text.",
    lower_bound=1,
)
SEED = flags.DEFINE_integer("seed", 0, "Seed of the draws.", lower_bound=0, upper_bound=MOST_SEED)
OUT = flags.DEFINE_string(
    "out", None, "The file to write, .png, .gif or .txt as it is; by default in WORKDIR/samples."
)


def main(argv: list[str]) -> None:
    from research.run import restore
    from research.training import pictures
    from research.training.method import TextWriter
    from research.training.sharding import sharing

    workdir = pathlib.Path(WORKDIR.value)
    if OUT.value is not None and not pathlib.Path(OUT.value).name:
        raise InputError(f"--out={OUT.value} names no file")
    experiment, state = restore(workdir)
    method, rng = experiment.method, jax.random.key(SEED.value)
    asked = sampling_options(argv[1:], method.sample)
    count = COUNT.value or (1 if isinstance(method, TextWriter) else 64)
    options = experiment.sample_options(**asked, count=count)
    if isinstance(method, TextWriter) and count == 1 and OUT.value is None:
        del options["count"]
        with sharing(experiment.mesh):
            for piece in method.stream(state, rng, **options):
                print(piece, end="", flush=True)
        print()
        return
    artefacts = experiment.draw(state, rng, **options)
    shown = [name for name in artefacts if pictures.kind(name)]
    stem = pathlib.Path(OUT.value or workdir / "samples" / "sample")
    if stem.suffix in (".png", ".gif", ".txt"):
        stem = stem.with_suffix("")
    for name in shown:
        # One artefact has the name asked for, several are told apart.
        own = stem if len(shown) == 1 else stem.with_name(f"{stem.name}_{name}")
        path = pictures.save(name, artefacts[name], own)
        print(f"{count} samples of step {int(state.step)}: {path}")


def sampling_options(arguments: Sequence[str], sample: Callable[..., Any]) -> dict[str, Any]:
    """`--name=value` for each keyword argument of `sample`, typed as it is annotated.

    Raises:
      InputError: an argument that `sample` does not take, or a value of another type.
    """
    names = [
        name
        for name, parameter in inspect.signature(sample).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and name != "batch"
    ]
    hints = get_type_hints(sample)
    options = {}
    for argument in arguments:
        name, _, text = argument.removeprefix("--").partition("=")
        if not argument.startswith("--"):
            raise InputError(f"{argument!r} is no --name=value; a value goes after an equals sign")
        if name not in names:
            raise InputError(f"sampling takes no {argument}; {nearest(name, names)}")
        options[name] = typed(name, text, hints[name])
    return options


def typed(name: str, text: str, hint: Any) -> Any:
    """`text` itself where a string is meant, else what it is as a Python literal.

    Where a list is meant, one number is a list of one.

    Raises:
      InputError: it is not of the type that is meant.
    """
    if str in (hint, *get_args(hint)):
        return text
    try:
        value = literal_eval(text)
        if type(value) is int and float in (hint, *get_args(hint)):
            return float(value)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError, OverflowError):
        value = text
    for one in (value, (value,)):
        if fits(one, hint):
            return one
    raise InputError(f"--{name}={text} has the wrong type; it takes {in_words(hint)}")


if __name__ == "__main__":
    command.run(main, extra_flags=True)
