"""Config files: found by name, and their keys checked before anything is built from them."""

import pathlib
import runpy
from collections.abc import Iterable

from ml_collections import ConfigDict

from research.errors import InputError, nearest

TREE = pathlib.Path(__file__).parents[1]


def load_config(name: str) -> ConfigDict:
    """The config of `FILE.py:VARIANT`, as `--config` takes it; relative to the tree if not here.

    Raises:
      InputError: no such file, or the file has no such variant.
    """
    filename, _, variant = name.partition(":")
    path = next((p for p in (pathlib.Path(filename), TREE / filename) if p.is_file()), None)
    if path is None:
        configs = [f"configs/{p.name}" for p in (TREE / "configs").glob("*.py")]
        raise InputError(f"no config file {filename!r}; {nearest(filename, configs)}")
    get_config = runpy.run_path(str(path))["get_config"]
    return get_config(variant) if variant else get_config()


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


def unknown_key(config: ConfigDict, path: str) -> str | None:
    """Says where the dotted `path` leaves the config and which keys are near, None if it exists."""
    *sections, key = path.split(".")
    for depth, section in enumerate(sections):
        if not isinstance(config.get(section), ConfigDict):
            key, sections = section, sections[:depth]
            break
        config = config[section]
    if key in config:
        return None
    where = ".".join(["config", *sections])
    return f"{where} has no key {key!r}; {nearest(key, config.keys())}"
