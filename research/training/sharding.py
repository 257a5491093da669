"""Sharding: parameter-name pattern -> PartitionSpec over the whole state, on a named mesh."""

import contextlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from kernels.shares import BATCH_AXES
from research.errors import InputError, check_least
from research.training.patterns import path_name

AXES = (*BATCH_AXES, "tensor")
AXIS_TYPES = (AxisType.Auto,) * len(AXES)
Rules = Sequence[tuple[str, Sequence[str | None]]]


def make_mesh(*, data: int = -1, fsdp: int = 1, tensor: int = 1) -> Mesh:
    """A mesh of all devices with axes data, fsdp and tensor; `data=-1` takes what is left.

    Raises:
      InputError: an axis is less than 1, or the axes' product is not the number of devices.
    """
    check_least(1, **{"mesh.fsdp": fsdp, "mesh.tensor": tensor})
    count = jax.device_count()
    if data == -1:
        data = max(count // (fsdp * tensor), 1)
    if data * fsdp * tensor != count:
        raise InputError(
            f"mesh data={data} x fsdp={fsdp} x tensor={tensor} needs {data * fsdp * tensor} "
            f"devices, there are {count}; data=-1 takes what the others leave"
        )
    return jax.make_mesh((data, fsdp, tensor), AXES, axis_types=AXIS_TYPES)


def mesh_of_one() -> Mesh:
    """A mesh of this process's first device alone."""
    first = jax.local_devices()[:1]
    return jax.make_mesh((1, 1, 1), AXES, axis_types=AXIS_TYPES, devices=first)


def sharing(mesh: Mesh) -> contextlib.AbstractContextManager[None]:
    """Kernels that are traced inside share a batch among the mesh's devices (kernels/shares.py)."""
    if mesh.size == 1:
        return contextlib.nullcontext()
    return jax.sharding.use_abstract_mesh(mesh.abstract_mesh)


def axes_here(axes: Mapping[str, int]) -> Mapping[str, int]:
    """A mesh's `axes` if this machine's devices make it, else those of all devices as `data`."""
    try:
        make_mesh(**axes)
    except InputError:
        return {"data": -1, "fsdp": 1, "tensor": 1}
    return axes


def state_shardings(state: Any, mesh: Mesh, rules: Rules) -> Any:
    """A sharding for each leaf of `state` (arrays or shapes).

    The first rule whose pattern is found in the leaf's path (`params/model/Dense_0/kernel`;
    the optimizer's moments end alike) gives its axes, one per dimension: `("kernel$", [None,
    "fsdp"])`. Leaves that no rule names, or with fewer dimensions than the rule, are replicated;
    so are leaves under `opt_state/` that an axis does not divide, as adafactor's placeholders (1,).

    Raises:
      InputError: a rule names an axis the mesh lacks, or one twice, or one that does not divide the
        dimension.
    """

    def of(path: tuple, leaf: Any) -> NamedSharding:
        name = path_name(path)
        axes = next((axes for pattern, axes in rules if re.search(pattern, name)), ())
        if len(axes) > len(leaf.shape):
            axes = ()
        for place, (axis, size) in enumerate(zip(axes, leaf.shape, strict=False)):
            if axis is None:
                continue
            if axis not in mesh.shape:
                raise InputError(f"sharding rule for {name} names the axis {axis!r}, not of {AXES}")
            if axis in axes[:place]:
                raise InputError(f"sharding rule for {name} names the axis {axis!r} twice")
            if size % mesh.shape[axis]:
                if name.startswith("opt_state/"):
                    return NamedSharding(mesh, PartitionSpec())
                raise InputError(f"{name}: {size} is not divided by {axis}={mesh.shape[axis]}")
        return NamedSharding(mesh, PartitionSpec(*axes))

    return jax.tree_util.tree_map_with_path(of, state)


def check_dimensions(rules: Rules, state: Any) -> None:
    """Raises InputError where a rule has more axes than any leaf that it is for has dimensions."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    for pattern, axes in rules:
        named = [leaf for path, leaf in leaves if re.search(pattern, path_name(path))]
        most = max((len(leaf.shape) for leaf in named), default=0)
        if len(axes) > most:
            raise InputError(
                f"sharding: the rule for {pattern!r} has {len(axes)} axes, and what it is for "
                f"{most} dimensions at most"
            )


def batch_sharding(mesh: Mesh, *, stacked: bool = False) -> NamedSharding:
    """Examples are split over `BATCH_AXES`; of stacked batches they are axis 1."""
    axes = (None, BATCH_AXES) if stacked else (BATCH_AXES,)
    return NamedSharding(mesh, PartitionSpec(*axes))


def check_batch(batch_size: int, axes: Mapping[str, int]) -> None:
    """Raises InputError: the devices that share a batch don't divide it. `axes` are a mesh's."""
    parts = axes["data"] * axes["fsdp"]
    if batch_size % parts:
        raise InputError(
            f"data.batch_size={batch_size} is not divided by the {parts} devices of mesh.data x "
            f"mesh.fsdp; {-(-batch_size // parts) * parts} is"
        )


def put_batch(batch: Any, sharding: NamedSharding) -> Any:
    """This process's share of a batch as global arrays."""
    return jax.tree.map(
        lambda array: jax.make_array_from_process_local_data(sharding, array), batch
    )
