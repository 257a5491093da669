"""A hand-written kernel on a mesh: every device runs it on its share of the batch.

XLA can't split such a kernel: a TPU's is refused, a GPU's would run whole on every device.
"""

import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import jax

from kernels.dispatch import MADE_FOR

# Axes of a mesh that share a batch; along others devices repeat each other's work.
BATCH_AXES = ("data", "fsdp")


def on_shares(
    backend: ModuleType,
    call: Callable[..., Any],
    *arguments: Any,
    batch: int,
    split: Any,
    split_out: Any,
) -> Any:
    """`call(*arguments)`, of a `backend`, on the devices of the mesh that JAX is set to.

    `split` and `split_out` are prefixes of the arguments' (a tuple) and the result's pytrees: True
    for arrays whose first axis is the batch, of `batch` sequences or rows. Others go in whole, and
    come out as the sum over the shares. Axes whose size doesn't divide the batch don't share it.
    A backend of XLA's is left to XLA, and a call inside a `shard_map` to its author.
    """
    mesh = jax.sharding.get_abstract_mesh()
    name = backend.__name__.rpartition(".")[2]
    if name not in MADE_FOR or mesh.size < 2 or mesh.manual_axes:
        return call(*arguments)
    axes = shared_axes(dict(mesh.shape), batch)

    def specs(prefix: Any) -> Any:
        return jax.tree.map(lambda is_split: jax.P(axes) if is_split else jax.P(), prefix)

    def on_one(*arguments: Any) -> Any:
        return jax.tree.map(
            lambda is_split, part: part if is_split else jax.lax.psum(part, axes),
            split_out,
            call(*arguments),
        )

    # A kernel doesn't say which of its results differ between devices: the check can't be made.
    on_all = jax.shard_map(
        on_one, in_specs=specs(split), out_specs=specs(split_out), check_vma=False
    )
    return on_all(*arguments)


def shared_axes(mesh: dict[str, int], batch: int) -> tuple[str, ...]:
    """Of `BATCH_AXES` those, first to last, whose devices together divide the batch."""
    axes: tuple[str, ...] = ()
    for axis in BATCH_AXES:
        if axis in mesh and batch % math.prod(mesh[a] for a in (*axes, axis)) == 0:
            axes += (axis,)
    return axes
