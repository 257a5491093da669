"""Config files: found by name, and their keys checked before anything is built from them."""

import inspect
import pathlib
import runpy
import traceback
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from beartype import BeartypeConf
from beartype.door import is_bearable
from ml_collections import ConfigDict

from research.errors import InputError, check_least, nearest

TREE = pathlib.Path(__file__).parents[1]
SECTIONS = (
    *("data", "network", "method", "optimizer", "mesh", "checkpoint", "log"),
    *("sample", "evaluate"),
)
MOST_SEED = 2**32 - 1  # a key has no more than 32 bits of it: 2^32 would be 0 again
# The least of each integer that a config must have, and the other keys that it may have.
INTEGERS = {
    "seed": 0,
    "steps": 1,
    "data.batch_size": 1,
    "checkpoint.every_steps": 0,
    "checkpoint.keep": 1,
    "log.every_steps": 0,
    "sample.every_steps": 0,
    "sample.count": 0,
    "evaluate.count": 0,
    "evaluate.batch_size": 1,
}
OPTIONAL = ("steps_per_execution", "environment", "sharding", "lora")
INTEGERS_ARE_FLOATS = BeartypeConf(is_pep484_tower=True)
# Sections that have no other keys; what the others are made of knows theirs.
WHOLE = ("checkpoint", "log", "evaluate")


def load_config(name: str) -> ConfigDict:
    """The config of `FILE.py:VARIANT`, as `--config` takes it; relative to the tree if not here.

    Raises:
      InputError: no such file, the file has no such variant, or it makes no config.
    """
    path, _, variant = found(name).partition(":")
    try:
        get_config = runpy.run_path(path).get("get_config")
        if get_config is None:
            raise InputError(f"{path} has no function get_config, which makes the config")
        return get_config(variant) if variant else get_config()
    except InputError:
        raise
    except Exception as error:
        at = traceback.extract_tb(error.__traceback__)[-1]
        raise InputError(
            f"{path} makes no config: {type(error).__name__}: {error} ({at.filename}:{at.lineno})"
        ) from error


def found(name: str) -> str:
    """`FILE.py:VARIANT` with the file's path from here, where it is the tree's.

    Raises:
      InputError: no such file.
    """
    filename, colon, variant = name.partition(":")
    path = next((p for p in (pathlib.Path(filename), TREE / filename) if p.is_file()), None)
    if path is None:
        configs = [f"configs/{p.name}" for p in (TREE / "configs").glob("*.py")]
        raise InputError(f"no config file {filename!r}; {nearest(filename, configs)}")
    return f"{path}{colon}{variant}"


def split_variant(variant: str, variants: Iterable[str], file: str) -> tuple[str, bool]:
    """A variant's name, one of `variants`, and whether its `_debug` form is meant.

    Raises:
      InputError: the config file has no such variant.
    """
    name = variant.removesuffix("_debug")
    if name not in variants:
        path = f"configs/{pathlib.Path(file).name}"
        raise InputError(f"{path} has no variant {variant!r}; {nearest(name, variants)}")
    return name, variant.endswith("_debug")


def config_of(
    variant: str,
    variants: Mapping[str, Mapping[str, Any]],
    make: Callable[..., ConfigDict],
    *,
    debug: Mapping[str, Any],
    file: str,
) -> ConfigDict:
    """`make` of a variant's arguments; of its `_debug` form with the dotted values of `debug`.

    Raises:
      InputError: the config file has no such variant.
    """
    name, is_debug = split_variant(variant, variants, file)
    config = make(**variants[name])
    if is_debug:
        config.update_from_flattened_dict(debug)
    return config


def unknown_key(config: ConfigDict, path: str) -> str | None:
    """Says where the dotted `path` leaves the config and which keys are near, None if it exists."""
    at: Any = config
    where = "config"
    for key in path.split("."):
        if not isinstance(at, ConfigDict):
            return f"{where} is a value, it has no key {key!r}"
        if key not in at:
            return f"{where} has no key {key!r}; {nearest(key, at.keys())}"
        at, where = at[key], f"{where}.{key}"
    return None


def check_keys(config: ConfigDict) -> None:
    """Raises InputError: a section or a value is missing, unknown, of a wrong type or too small."""
    missing = [name for name in SECTIONS if not isinstance(config.get(name), ConfigDict)]
    if missing:
        raise InputError(f"the config lacks {', '.join(missing)}")
    for name in ("environment", "lora"):
        if not isinstance(config.get(name, config), ConfigDict):
            raise InputError(f"{name} is {config[name]!r}; it takes a section")
    values = dict(config)
    for section in SECTIONS:
        values |= {f"{section}.{key}": value for key, value in config[section].items()}
    if missing := [path for path in ("data.name", *INTEGERS) if path not in values]:
        raise InputError(f"the config lacks {', '.join(missing)}")
    check_names(config, {"seed", "steps", *SECTIONS, *OPTIONAL}, "config")
    for section in WHOLE:
        allowed = [path.split(".")[1] for path in INTEGERS if path.startswith(f"{section}.")]
        check_names(config[section], allowed, section)
    if not isinstance(values["data.name"], str):
        raise InputError(f"data.name is {values['data.name']!r}; it takes a name")
    at_once = {"steps_per_execution": 1} if "steps_per_execution" in config else {}
    for path, least in (INTEGERS | at_once).items():
        if type(values[path]) is not int:
            raise InputError(f"{path} is {values[path]!r}; it takes an integer")
        check_least(least, **{path: values[path]})
    if config.seed > MOST_SEED:
        raise InputError(f"seed is {config.seed}; {MOST_SEED} is the most")


def check_names(names: Iterable[str], allowed: Collection[str], section: str) -> None:
    """Raises InputError where a key of `section` is none of the `allowed`, with the nearest."""
    for name in names:
        if name not in allowed:
            raise InputError(f"{section}.{name} is unknown; {nearest(name, allowed)}")


def check_arguments(make: Callable[..., Any], arguments: Mapping[str, Any], section: str) -> None:
    """Checks that `make` can be called with a section's `arguments` alone.

    Raises:
      InputError: it does not take one, with the nearest that it does, or not of that type; or one
        that it needs is missing.
    """
    taken = inspect.signature(make).parameters
    check_names(arguments, taken, section)
    check_types(make, arguments, section)
    required = [name for name, parameter in taken.items() if parameter.default is parameter.empty]
    if missing := [name for name in required if name not in arguments]:
        raise InputError(f"{section} lacks {', '.join(missing)}")


def check_types(make: Callable[..., Any], arguments: Mapping[str, Any], section: str) -> None:
    """Raises InputError where an argument is not what `make` annotates it to be, if it does."""
    taken = inspect.signature(make, eval_str=True).parameters
    for name, value in arguments.items():
        hint = taken[name].annotation
        if hint is not inspect.Parameter.empty and not fits(value, hint):
            raise InputError(f"{section}.{name} is {value!r}; it takes {in_words(hint)}")


def check_tuples(where: str, value: Any, *hints: Any) -> None:
    """Raises InputError where `value` is no list of tuples, or lists, of these types."""
    for one in value if isinstance(value, tuple | list) else [value]:
        is_tuple = isinstance(one, tuple | list) and len(one) == len(hints)
        if not is_tuple or not all(map(fits, one, hints)):
            kinds = ", ".join(map(in_words, hints))
            raise InputError(f"{where} has {one!r}; it takes a list of ({kinds})")


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is of an annotated type; integers are floats too."""
    # Of a list beartype looks at one element, drawn by chance: each stands for all once.
    is_list = isinstance(value, tuple | list)
    lists = [type(value)([element] * len(value)) for element in value] if is_list else []
    return all(is_bearable(part, hint, conf=INTEGERS_ARE_FLOATS) for part in (value, *lists))


def in_words(hint: Any) -> str:
    """An annotation as it is written."""
    return inspect.formatannotation(hint).replace("collections.abc.", "")
