"""What the diffusion methods share: dropped labels, and drawing by a solver."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from research.errors import InputError, check_choice, check_finite
from research.methods.labels import drawn_labels
from research.sampling.ancestral import ancestral
from research.sampling.ddim import ddim
from research.sampling.denoisers import Denoiser
from research.sampling.dpm_solver import dpm_solver_2m
from research.sampling.heun import euler, heun
from research.sampling.schedules import Schedule
from research.training.types import Rng

# solver(denoise, x, schedule, rng) -> images
Solver = Callable[[Denoiser, Array, Schedule, Rng], Array]

SOLVERS = ("ancestral", "ancestral_beta", "ddim", "dpm_solver_2m", "euler", "heun")


def solver_named(name: str, *, eta: float = 0.0, learned_variance: bool = False) -> Solver:
    """The solver called `name`.

    'ancestral' takes the learned variance where there is one, else beta-tilde; 'ancestral_beta'
    takes beta. `eta` is DDIM's. Raises InputError for another name, or an eta that is not used.
    """
    check_choice("solver", name, SOLVERS)
    if eta and name != "ddim":
        raise InputError(f"eta is an option of solver 'ddim', not of {name!r}")
    solvers: dict[str, Solver] = {
        "ancestral": functools.partial(
            ancestral, variance="learned" if learned_variance else "beta_tilde"
        ),
        "ancestral_beta": functools.partial(ancestral, variance="beta"),
        "ddim": functools.partial(ddim, eta=eta),
        "dpm_solver_2m": lambda denoise, x, schedule, rng: dpm_solver_2m(denoise, x, schedule),
        "euler": lambda denoise, x, schedule, rng: euler(denoise, x, schedule),
        "heun": heun,
    }
    return solvers[name]


def labels_to_draw(
    labels: Sequence[int] | Array | None,
    *,
    count: int,
    num_classes: int,
    guidance: float,
    label_dropout: float,
) -> Int[Array, " count"] | None:
    """The labels of a sample: as given, or every class in turn; None without classes.

    The label `num_classes` is the null one, learned where labels were dropped. Raises InputError
    for labels or guidance without classes, for a guidance that is not finite or without a null
    label, and for labels of another count or none of these.
    """
    check_finite(guidance=guidance)
    if guidance and not num_classes:
        raise InputError("guidance and labels need a model with classes; this one has none")
    if guidance and not label_dropout:
        raise InputError(
            "guidance needs a model that has dropped labels: method.label_dropout is 0"
        )
    return drawn_labels(labels, count=count, num_classes=num_classes, has_null=label_dropout > 0)


def check_label_dropout(probability: float) -> None:
    """Raises InputError unless it is a probability."""
    if not 0 <= probability <= 1:
        raise InputError(f"label_dropout is {probability}; it must be in [0, 1]")


def training_labels(
    batch: Any, rng: Rng, *, num_classes: int, label_dropout: float
) -> Int[Array, " B"] | None:
    """The batch's labels, each replaced by the null label with probability `label_dropout`.

    2207.12598, Algorithm 1. None without classes.
    """
    if not num_classes:
        return None
    labels = batch["label"].astype(jnp.int32)
    dropped = jax.random.bernoulli(rng, label_dropout, labels.shape)
    return jnp.where(dropped, num_classes, labels)
