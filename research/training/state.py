"""TrainState: everything a run carries from one step to the next, as one plain pytree."""

import hashlib
from typing import Any

import jax
import numpy as np
from flax import struct


@struct.dataclass
class TrainState:
    """`step` is int32 (); `params` and `opt_state` are dicts by group, `extra` one by name.

    A group with parameters and no Objective is frozen. `extra` holds what no optimizer moves:
    mutable collections (batch statistics, codebooks) and environment state. Leaves are arrays, or
    what JAX maps over a state: shapes, shardings.
    """

    step: Any
    params: Any
    opt_state: Any
    extra: Any


def sha256(tree: Any) -> str:
    """A hash over every leaf of `tree`: its path, dtype, shape and bytes."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
