"""The labels that methods of classes draw samples of."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from research.errors import InputError


def drawn_labels(
    labels: Sequence[int] | Array | None, *, count: int, num_classes: int, has_null: bool = False
) -> Int[Array, " count"] | None:
    """The labels of a sample: as given, or every class in turn; None without classes.

    With `has_null` the label `num_classes` is there too, and is no class. Raises InputError for
    labels without classes, of another count or of none of these classes.
    """
    if not num_classes:
        if labels is not None:
            raise InputError("labels need a model with classes; this one has none")
        return None
    if labels is None:
        return jnp.arange(count, dtype=jnp.int32) % num_classes
    chosen = np.asarray(labels)
    if chosen.shape != (count,):
        raise InputError(f"labels has shape {chosen.shape}; count is {count}")
    last = num_classes if has_null else num_classes - 1
    if not ((chosen >= 0) & (chosen <= last)).all():
        null = f" ({num_classes} is no class)" if has_null else ""
        raise InputError(f"labels must lie in 0..{last}{null}")
    return jnp.asarray(chosen, jnp.int32)


def check_classes(num_classes: int, **networks: Any) -> None:
    """Raises InputError where a network, by its role, is made for another number of classes.

    One that has some serves a method of none as well.
    """
    for role, network in networks.items():
        own = getattr(network, "num_classes", num_classes)
        if num_classes and own != num_classes:
            raise InputError(
                f"{role} has num_classes={own} and the method {num_classes}: leave both to the data"
            )
