"""safetensors in Hugging Face's layout: parameters read whole or not at all, and written back.

A family's table (`families.py`) says which arrays of a file are which of ours.
"""

import functools
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy
from flax import traverse_util

from research.errors import InputError, check_choice
from research.networks.initial import initial
from research.pretrained.families import FAMILIES, Family, Row

Arrays = dict[str, np.ndarray]
KINDS = ("F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL")


def read(path: pathlib.Path, family: str, like: Any) -> Any:
    """The parameters of a .safetensors file as float32, in the tree and the shapes of `like`.

    `like` holds arrays or shapes, as `jax.eval_shape` of a network's `init` gives them; its layers
    may be scanned. `family` is one of `FAMILIES`.

    Raises:
      InputError: no such family, no whole file, or one with missing, further or misshapen arrays,
        all of which are named; or it says twice what it says differently.
    """
    family_of(family)
    found = load(path)
    wanted = expected(family, like, bare=is_bare(found, family))
    problems = misfits(found, wanted, family_of(family))
    if problems:
        raise InputError(f"{path} does not fit this {family}: {'; '.join(problems)}")
    arrays = {
        part: np.concatenate(
            [turned(found[name], row.turned).astype(np.float32) for name in row.names], axis=-1
        )
        for part, (row, _) in wanted.items()
    }
    return restacked(arrays, like)


def shapes(network: Any, **inputs: Any) -> Any:
    """The shapes of a transformer's parameters; `inputs` are what it takes besides tokens."""
    given = network, jax.random.key(0), jnp.zeros((1, 1), jnp.int32)
    return jax.eval_shape(functools.partial(initial, *given, **inputs))


def write(path: pathlib.Path, family: str, params: Any) -> None:
    """Writes parameters, float32, under the names of `family`, as transformers reads them.

    Raises:
      InputError: no such family, a parameter that it does not have, or two of what it has once; a
        product of other parts than it has; arrays that it has and these parameters don't give, all
        of which are named; or the file cannot be written.
    """
    arrays: Arrays = {}
    own = unstacked(params)
    rows = rows_of(family, own)
    if lacking := needed(family_of(family), own) - {n for row in rows.values() for n in row.names}:
        raise InputError(f"{family} has {', '.join(sorted(lacking))}, and these parameters do not")
    for part, row in rows.items():
        check_parts(part, row, own, family)
    for part, row in rows.items():
        pieces = np.split(np.asarray(own[part], np.float32), len(row.names), axis=-1)
        for name, piece in zip(row.names, pieces, strict=True):
            array = np.ascontiguousarray(turned(piece, row.turned))
            if name in arrays and not np.array_equal(arrays[name], array):
                raise InputError(f"{part} differs from its other copy, and {family} has one {name}")
            arrays[name] = array
    try:
        # Readers of torch's ask for this note.
        safetensors.numpy.save_file(arrays, path, metadata={"format": "pt"})
    except (OSError, safetensors.SafetensorError) as error:
        raise InputError(f"cannot write the weights {path}: {error}") from error


def check_parts(part: str, row: Row, params: Mapping[str, Any], family: str) -> None:
    """Raises InputError where a kernel makes other than equal parts, as fewer heads of keys do."""
    counts = {"qkv": (3, "out"), "kv": (2, "out"), "up": (len(row.names), "down")}
    module, _, field = part.rpartition("/")
    before, _, name = module.rpartition("/")
    if field != "kernel" or name not in counts:
        return
    count, reader = counts[name]
    made, read = params[part].shape[-1], params[f"{before}/{reader}/kernel"].shape[0]
    if made != count * read:
        raise InputError(
            f"{part} makes {made} channels and {reader} reads {read}: {family} has {count} times "
            "as many, with a head of keys for each of queries and its own kind of activation"
        )


def rows_of(family: str, params: Mapping[str, Any]) -> dict[str, Row]:
    """The family's row of each parameter, by its path; raises InputError where it has none."""
    rows = {}
    for path in params:
        row = family_of(family).row(path)
        if row is None:
            raise InputError(f"{family} has no parameter like {path}")
        rows[path] = row
    return rows


def needed(family: Family, params: Mapping[str, Any]) -> set[str]:
    """The arrays that a file of so many layers has, but what it may lack."""
    names = set()
    for path, row in family.rows.items():
        stack, in_layers, _ = path.partition("block{}/")
        layers = (re.match(rf"{stack}block(\d+)/", own) for own in params)
        numbers = {layer[1] for layer in layers if layer} if in_layers else {""}
        names |= {name.format(number) for name in row.names for number in numbers}
    return {name for name in names - {*family.copies} if not re.search(family.passed_over, name)}


class Wanted(NamedTuple):
    """A row by a file's own names, and the shape of each of its arrays."""

    row: Row
    shape: tuple[int, ...]


def expected(name: str, like: Any, *, bare: bool) -> dict[str, Wanted]:
    """What a file should have, by the path of our parameter."""
    wanted = {}
    leaves = unstacked(like)
    for path, row in rows_of(name, leaves).items():
        if bare:
            prefix = family_of(name).prefix
            row = Row(tuple(n.removeprefix(prefix) for n in row.names), row.turned)
        *rest, last = leaves[path].shape
        shape = (*rest, last // len(row.names))
        wanted[path] = Wanted(row, shape[::-1] if row.turned else shape)
    return wanted


def misfits(found: Arrays, wanted: Mapping[str, Wanted], family: Family) -> list[str]:
    """What is wrong with a file, in words; every array at fault is named."""
    shapes = {name: shape for row, shape in wanted.values() for name in row.names}
    missing = sorted(shapes.keys() - found.keys())
    misshapen = [
        f"{name} {found[name].shape}, not {shape}"
        for name, shape in sorted(shapes.items())
        if name in found and found[name].shape != shape
    ]
    extra, differing = [], []
    for name in sorted(found.keys() - shapes.keys()):
        copied = family.copies.get(name)
        copied = copied if copied in found else (copied or "").removeprefix(family.prefix)
        if copied in found:
            if not np.array_equal(found[name], found[copied]):
                differing.append(f"{name} is not {copied}")
        elif not re.search(family.passed_over, name):
            extra.append(name)
    lists = {"missing": missing, "extra": extra, "misshapen": misshapen, "differing": differing}
    return [f"{kind} {', '.join(names)}" for kind, names in lists.items() if names]


def family_of(name: str) -> Family:
    """Raises InputError: there is no such family."""
    check_choice("family of weights", name, FAMILIES)
    return FAMILIES[name]


def is_bare(found: Arrays, family: str) -> bool:
    """Whether a file's names lack the prefix of a model with a head."""
    return not any(name.startswith(family_of(family).prefix) for name in found)


def load(path: pathlib.Path) -> Arrays:
    """The file's arrays by name.

    Raises:
      InputError: there is no such file, it is not whole, or has an array that is not of `KINDS`.
    """
    try:
        with safetensors.safe_open(path, "np") as file:
            kinds = {name: file.get_slice(name).get_dtype() for name in file.offset_keys()}
            if strange := [f"{name} {kind}" for name, kind in kinds.items() if kind not in KINDS]:
                raise InputError(f"{path} has {', '.join(strange)}; read are {', '.join(KINDS)}")
            arrays = {name: file.get_tensor(name) for name in kinds}
    except OSError as error:
        raise InputError(f"cannot read the weights {path}: {error.strerror or error}") from error
    except safetensors.SafetensorError as error:
        raise InputError(f"{path} is no whole .safetensors file: {error}") from error
    # BERT's first files have TensorFlow's names of a norm's two.
    first = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
    pattern = re.compile("|".join(map(re.escape, first)) + "$")
    return {pattern.sub(lambda m: first[m[0]], name): array for name, array in arrays.items()}


def turned(array: np.ndarray, is_turned: bool) -> np.ndarray:
    return array.T if is_turned else array


def unstacked(params: Any) -> dict[str, Any]:
    """Every parameter by its path; of scanned layers each layer's own."""
    return dict(_unstacked(traverse_util.flatten_dict(params, sep="/")))


def _unstacked(flat: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for path, leaf in flat.items():
        if not is_stacked(path):
            yield path, leaf
            continue
        for i in range(leaf.shape[0]):
            is_shape = isinstance(leaf, jax.ShapeDtypeStruct)
            own = jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype) if is_shape else leaf[i]
            yield layer_path(path, i), own


def restacked(arrays: Arrays, like: Any) -> Any:
    """The tree of `like` with the arrays that `unstacked` names."""
    flat = {}
    for path, leaf in traverse_util.flatten_dict(like, sep="/").items():
        layers = (arrays[layer_path(path, i)] for i in range(leaf.shape[0]))
        flat[path] = np.stack(list(layers)) if is_stacked(path) else arrays[path]
    return traverse_util.unflatten_dict(flat, sep="/")


def is_stacked(path: str) -> bool:
    return "blocks" in path.split("/")


def layer_path(path: str, layer: int) -> str:
    return re.sub(r"\bblocks/", f"block{layer}/", path)
