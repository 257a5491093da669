"""ConfigDict -> Experiment, once, here: below this room nothing reads a config."""

import dataclasses
import functools
import inspect
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from research.configuration import check_keys, check_names, check_tuples, check_types
from research.data import datasets, pipelines
from research.data.examples import Dataset
from research.environments.worlds import ENVIRONMENTS
from research.errors import InputError
from research.methods import writing
from research.methods.lora import lora_of
from research.registry import METHODS, choose, construct, network
from research.training.execution import state_layout
from research.training.loop import train
from research.training.method import Method
from research.training.optimizers import optimizer
from research.training.patterns import check_expressions, check_found
from research.training.sharding import Rules, check_batch, check_dimensions, make_mesh, sharing
from research.training.state import TrainState
from research.training.types import Batch, Places, Rng


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A run ready to start: what is learned, from which data, on which devices, for how long.

    `patterns` are those by which its optimizers choose parameters, by their keys of the config.
    """

    method: Method
    train_data: Dataset
    test_data: Dataset
    batch_size: int
    mesh: Mesh
    rules: Rules
    patterns: dict[str, list[str]]
    seed: int
    steps: int
    steps_per_execution: int
    checkpoint: dict[str, int]
    log: dict[str, int]
    sample: dict[str, Any]
    evaluate: dict[str, Any]

    def example(self) -> Batch:
        """A batch of zeros of the shapes that training sees."""
        return self.train_data.zeros(self.batch_size)

    def layout(self) -> TrainState:
        """The state's shapes, dtypes and shardings."""
        return state_layout(self.method, example=self.example(), mesh=self.mesh, rules=self.rules)

    def check(self) -> None:
        """What else a training needs than to be built.

        Raises:
          InputError: the devices don't divide the batch, the method refuses it or misses a field, a
            pattern of the optimizer or of the sharding is in no path of the parameters that it may
            choose, or a rule of the sharding has too many axes.
        """
        check_batch(self.batch_size, self.mesh.shape)
        found = self.example().keys()
        if not found >= {*self.method.fields}:
            raise InputError(
                f"{type(self.method).__name__} learns from {', '.join(self.method.fields)}; "
                f"the data has {', '.join(found)}"
            )
        layout = self.layout()
        check_found("sharding", [pattern for pattern, _ in self.rules], [layout])
        check_dimensions(self.rules, layout)
        for where, patterns in self.patterns.items():
            _, role, *_ = where.split(".")
            groups = [layout.params[role]] if role in layout.params else layout.params.values()
            check_found(where, patterns, groups)

    def train(self, **options: Any) -> TrainState:
        """`loop.train` of this experiment; `options` are its further keyword arguments."""
        own: dict[str, Any] = {
            "steps": self.steps,
            "steps_per_execution": self.steps_per_execution,
            "seed": self.seed,
            "mesh": self.mesh,
            "rules": self.rules,
        }
        own |= options
        check_batch(self.batch_size, own["mesh"].shape)
        if own["steps_per_execution"] > 1 and self.train_data.fits_on_device:
            own["examples"] = self.train_data.arrays()
        stream = self.iterator(gathered="examples" not in own)
        return train(self.method, stream, example=self.example(), **own)

    def draw(self, state: TrainState, rng: Rng, **options: Any) -> dict[str, Any]:
        """`method.sample`, whose kernels share a batch among the mesh's devices."""
        with sharing(self.mesh):
            return self.method.sample(state, rng, **options)

    def sample_options(
        self, *, first: int = 0, total: int | None = None, **options: Any
    ) -> dict[str, Any]:
        """Keyword arguments for `method.sample`: the config's, with `options` before them.

        With another `strategy` of writing those of the config's settings are left out that it does
        not take.
        A `sample` that takes a `batch` is given test examples: `total`, by default `count`, lie
        evenly over the set, and these are the `count` from number `first` of them on; after the
        last comes the first again. Labels are of every class in turn.
        """
        own = {name: value for name, value in self.sample.items() if name != "every_steps"}
        taken = inspect.signature(self.method.sample).parameters
        strategy = options.get("strategy")
        if strategy and strategy != own.get("strategy", taken["strategy"].default):
            left_out = {*writing.SETTINGS} - writing.taken(strategy)
            own = {name: value for name, value in own.items() if name not in left_out}
        own |= options
        numbers = range(first, first + own["count"])
        if "batch" in taken:
            total = total or own["count"]
            places = [n % total * (len(self.test_data) - 1) // max(total - 1, 1) for n in numbers]
            own["batch"] = pipelines.rows(self.test_data, places)
        if "labels" in taken and own.get("labels") is None and self.method.num_classes:
            own["labels"] = [number % self.method.num_classes for number in numbers]
        return own

    def iterator(self, *, gathered: bool = True) -> Iterator[Batch | Places]:
        """The endless, shuffled stream of training batches, or of their examples' places."""
        return pipelines.train_iterator(
            self.train_data,
            batch_size=self.batch_size,
            seed=self.seed,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            gathered=gathered,
        )


def build(config: ConfigDict, *, files: pathlib.Path | None = None) -> Experiment:
    """Constructs everything a run needs; `files` is its folder, where one has been started.

    Of the data's keys all but `name` and `batch_size` are options of the set (`datasets.load`). A
    method without a network has an empty section of it. With a section `lora` only adapters are
    learned, of the method's parameters.

    Raises:
      InputError: a section or an argument is missing, unknown, of the wrong type or too small.
    """
    check_keys(config)
    options = {key: v for key, v in config.data.items() if key not in ("name", "batch_size")}
    load = functools.partial(datasets.load, config.data.name, files=files, **options)
    train_data, test_data = load(split="train"), load(split="test")
    given = train_data.traits() | test_data.test_traits()
    if "environment" in config:
        environment = choose(ENVIRONMENTS, config.environment, "environment", given=given)
        given |= environment.traits() | {"environment": environment}
    if config.network:
        given |= by_role("network", config.network, functools.partial(network, given=given))
    patterns: dict[str, list[str]] = {}

    def make_optimizer(part: ConfigDict, section: str) -> Any:
        made = construct(optimizer, part, section, given={"total_steps": config.steps})
        patterns.update(patterns_of(part, section))
        return made

    given |= by_role("optimizer", config.optimizer, make_optimizer)
    method = choose(METHODS, config.method, "method", given=given)
    if "lora" in config:
        method = construct(lora_of(method), config.lora, "lora", given={"method": method})
    drawn = inspect.signature(method.sample).parameters.keys() - {"state", "rng", "batch"}
    check_names(config.sample, drawn | {"every_steps"}, "sample")
    options = {name: value for name, value in config.sample.items() if name != "every_steps"}
    check_types(method.sample, options, "sample")
    check_tuples("sharding", config.get("sharding", ()), str, list | tuple)
    rules = [(pattern, tuple(axes)) for pattern, axes in config.get("sharding", ())]
    check_expressions("sharding", [pattern for pattern, _ in rules])
    return Experiment(
        method=method,
        train_data=train_data,
        test_data=test_data,
        batch_size=config.data.batch_size,
        mesh=construct(make_mesh, config.mesh, "mesh"),
        rules=rules,
        patterns=patterns,
        seed=config.seed,
        steps=config.steps,
        steps_per_execution=config.get("steps_per_execution", 1),
        checkpoint=config.checkpoint.to_dict(),
        log=config.log.to_dict(),
        sample=config.sample.to_dict(),
        evaluate=config.evaluate.to_dict(),
    )


def patterns_of(config: ConfigDict, section: str) -> dict[str, list[str]]:
    """The patterns of an optimizer's section by key; those of what decays where anything does."""
    by_default = inspect.signature(optimizer).parameters["decayed"].default
    decayed = [config.get("decayed", by_default)] if config.get("weight_decay") else []
    rates = [pattern for pattern, _ in config.get("rates", ())]
    return {f"{section}.decayed": decayed, f"{section}.rates": rates}


def by_role(
    section: str, config: ConfigDict, make: Callable[[ConfigDict, str], Any]
) -> dict[str, Any]:
    """`{SECTION: made}`; of a section of sections, one a role, `{SECTIONs: {role: made}}`."""
    if not config or not all(isinstance(part, ConfigDict) for part in config.values()):
        return {section: make(config, section)}
    made = {role: make(part, f"{section}.{role}") for role, part in config.items()}
    return {f"{section}s": made}
