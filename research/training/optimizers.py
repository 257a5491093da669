"""Optimizers: named arguments -> one optax chain, with the parameters' average as its last link."""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from research.configuration import check_tuples
from research.errors import InputError, check_least, nearest
from research.training.patterns import check_expressions, path_name
from research.training.state import TrainState
from research.training.types import Params


def optimizer(
    name: str = "adam",
    *,
    learning_rate: float,
    total_steps: int,
    schedule: str = "constant",
    warmup_steps: int = 0,
    final_rate: float = 0.0,
    drops: Sequence[Sequence[Any]] = (),
    clip_norm: float | None = None,
    weight_decay: float = 0.0,
    decayed: str = r"kernel$",
    rates: Sequence[Sequence[Any]] = (),
    accumulate: int = 1,
    ema_decay: float | None = None,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    momentum: float = 0.9,
) -> optax.GradientTransformation:
    """Clip -> direction -> decoupled weight decay -> rate by parameter name -> schedule -> EMA.

    Args:
      name: adam, adamw, sgd, rmsprop (PyTorch's, of decay b2), lion or adafactor. Decay is
        decoupled (1711.05101) for each, so adam with a weight decay is adamw.
      learning_rate: the schedule's peak.
      total_steps: where a cosine schedule ends, as `warmup_steps` in gradients: a train step has
        one, but PPO one of each epoch's minibatches, and a critic `n_critic`.
      schedule: constant or cosine, after `warmup_steps` of linear warm-up; the cosine ends at
        `final_rate` of the peak.
      drops: (gradients, factor): after so many the rate is multiplied by the factor.
      clip_norm: the gradient's largest global norm; None clips nothing.
      decayed: parameters whose path in their group, as `Dense_0/kernel`, matches are decayed.
      rates: (pattern, factor): the first pattern found in a path scales its learning rate.
      accumulate: gradients averaged over this many steps before one move.
      ema_decay: decay of the average that `averaged` returns; None keeps none.

    Raises:
      InputError: a name is unknown, a number out of its range, a pattern no regular expression, or
        what drops or rates has no such pair.
    """
    check_least(1, accumulate=accumulate)
    check_least(
        0,
        learning_rate=learning_rate,
        warmup_steps=warmup_steps,
        weight_decay=weight_decay,
        final_rate=final_rate,
        eps=eps,
    )
    check_tuples("optimizer.drops", drops, int, float)
    check_tuples("optimizer.rates", rates, str, float)
    for gradients, factor in drops:
        check_least(0, **{"gradients of drops": gradients, "factor of drops": factor})
    for _, factor in rates:
        check_least(0, **{"factor of rates": factor})
    if clip_norm is not None and not clip_norm > 0:
        raise InputError(f"optimizer.clip_norm is {clip_norm}; it must be more than 0")
    decays = {"b1": b1, "b2": b2, "momentum": momentum, "ema_decay": ema_decay or 0}
    for decay, value in decays.items():
        if not 0 <= value < 1:
            raise InputError(f"optimizer.{decay} is {value}; it must be in [0, 1)")
    check_expressions("optimizer.decayed", [decayed])
    check_expressions("optimizer.rates", [pattern for pattern, _ in rates])
    directions: dict[str, Callable[[], optax.GradientTransformation]] = {
        "adam": lambda: optax.scale_by_adam(b1, b2, eps),
        "adamw": lambda: optax.scale_by_adam(b1, b2, eps),
        "sgd": lambda: optax.trace(momentum),
        "rmsprop": lambda: optax.scale_by_rms(b2, eps, eps_in_sqrt=False),
        "lion": lambda: optax.scale_by_lion(b1, b2),
        "adafactor": lambda: optax.chain(
            optax.scale_by_factored_rms(), optax.clip_by_block_rms(1.0)
        ),
    }
    if name not in directions:
        raise InputError(f"optimizer.name={name!r} is unknown; {nearest(name, directions)}")
    rate = learning_rate_schedule(
        schedule,
        peak=learning_rate,
        warmup_steps=warmup_steps // accumulate,
        total_steps=total_steps // accumulate,
        final_rate=final_rate,
        drops=[(gradients // accumulate, factor) for gradients, factor in drops],
    )
    links = [
        optax.clip_by_global_norm(clip_norm) if clip_norm is not None else optax.identity(),
        directions[name](),
        optax.add_decayed_weights(weight_decay, mask=lambda params: matching(decayed, params)),
        scale_by_name(rates),
        optax.scale_by_learning_rate(rate),
        track_ema(ema_decay) if ema_decay else optax.identity(),
    ]
    chain = optax.chain(*links)
    if accumulate == 1:
        return chain
    return optax.MultiSteps(chain, accumulate).gradient_transformation()


def learning_rate_schedule(
    name: str,
    *,
    peak: float,
    warmup_steps: int,
    total_steps: int,
    final_rate: float = 0.0,
    drops: Sequence[tuple[int, float]] = (),
) -> optax.Schedule:
    """Linear warm-up from 0 to `peak`, then constant, or a cosine that ends at `total_steps`.

    At each step of `drops` all that follows is multiplied by its factor.
    """
    schedules: dict[str, Callable[[], optax.Schedule]] = {
        "constant": lambda: optax.constant_schedule(peak),
        "cosine": lambda: optax.cosine_decay_schedule(
            peak, max(total_steps - warmup_steps, 1), alpha=final_rate
        ),
    }
    if name not in schedules:
        raise InputError(f"optimizer.schedule={name!r} is unknown; {nearest(name, schedules)}")
    schedule = schedules[name]()
    if warmup_steps:
        warmup = optax.linear_schedule(0.0, peak, warmup_steps)
        schedule = optax.join_schedules([warmup, schedule], [warmup_steps])
    factors = [optax.piecewise_constant_schedule(1.0, {at: factor}) for at, factor in drops]
    return lambda step: math.prod((factor(step) for factor in factors), start=schedule(step))


def matching(pattern: str, tree: Any) -> Any:
    """True at the leaves whose path, as `Dense_0/kernel`, matches `pattern` anywhere."""

    def match(path: tuple, leaf: Any) -> bool:
        return bool(re.search(pattern, path_name(path)))

    return jax.tree_util.tree_map_with_path(match, tree)


def scale_by_name(rates: Sequence[Sequence[Any]]) -> optax.GradientTransformation:
    """Multiplies the updates of a parameter by the factor of the first pattern it matches."""

    def factor(path: tuple, update: jax.Array) -> jax.Array:
        name = path_name(path)
        return update * next((f for pattern, f in rates if re.search(pattern, name)), 1.0)

    def scale(updates: Params, params: Params) -> Params:
        return jax.tree_util.tree_map_with_path(factor, updates)

    return optax.stateless(scale) if rates else optax.identity()


class EmaState(NamedTuple):
    """The average so far, and over how many updates."""

    moves: jax.Array
    average: Params


def track_ema(decay: float) -> optax.GradientTransformation:
    """Averages the parameters as they will be after the update; the updates pass unchanged.

    The decay at update n is min(decay, (1 + n) / (10 + n)), so that a short run's average is not
    its initialisation.
    """

    def init(params: Params) -> EmaState:
        return EmaState(jnp.zeros((), jnp.int32), jax.tree.map(jnp.copy, params))

    def update(updates: Params, state: EmaState, params: Params | None = None) -> tuple:
        moved = optax.apply_updates(params, updates)
        warm = jnp.minimum(decay, (1.0 + state.moves) / (10.0 + state.moves))
        average = optax.incremental_update(moved, state.average, 1.0 - warm)
        return updates, EmaState(state.moves + 1, average)

    return optax.GradientTransformation(init, update)


def averaged(state: TrainState, group: str) -> Params:
    """The group's EMA parameters if its optimizer tracks them, else the live ones."""
    leaves = jax.tree.leaves(
        state.opt_state.get(group), is_leaf=lambda leaf: isinstance(leaf, EmaState)
    )
    averages = [leaf.average for leaf in leaves if isinstance(leaf, EmaState)]
    return averages[0] if averages else state.params[group]
