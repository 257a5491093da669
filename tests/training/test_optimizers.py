"""Optimizers: each direction descends, and every link does what its argument says."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from research.errors import InputError
from research.training.optimizers import (
    EmaState,
    learning_rate_schedule,
    matching,
    optimizer,
)

PARAMS = {"dense": {"kernel": jnp.full((4, 4), 2.0), "bias": jnp.full(4, 2.0)}}


def moved(chain, gradients, *, steps=1, params=PARAMS):
    state = chain.init(params)
    for step in range(steps):
        updates, state = chain.update(gradients(params, step), state, params)
        params = optax.apply_updates(params, updates)
    return params, state


def zeros(params, step):
    return jax.tree.map(jnp.zeros_like, params)


def ones(params, step):
    return jax.tree.map(jnp.ones_like, params)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "lion", "adafactor"])
def test_each_descends_a_quadratic(name):
    chain = optimizer(name, learning_rate=0.02, total_steps=200)
    params, _ = moved(chain, lambda p, _: p, steps=200)
    assert all(jnp.abs(leaf).max() < 0.5 for leaf in jax.tree.leaves(params))


def test_adam_first_step_is_the_rate():
    params, _ = moved(optimizer("adam", learning_rate=0.1, total_steps=9), ones)
    np.testing.assert_allclose(params["dense"]["bias"], 1.9, rtol=1e-5)


def test_decay_reaches_kernels_only_and_is_decoupled():
    """Of Adam's direction decay would be 1, whatever the weight decay."""
    chain = optimizer("adamw", learning_rate=0.1, weight_decay=0.25, total_steps=9)
    params, _ = moved(chain, zeros)
    np.testing.assert_allclose(params["dense"]["kernel"], 2 * (1 - 0.1 * 0.25), rtol=1e-6)
    np.testing.assert_array_equal(params["dense"]["bias"], 2.0)


def test_a_rate_by_name_scales_the_decay_too():
    options = dict(learning_rate=0.1, weight_decay=0.25, total_steps=9)
    params, _ = moved(optimizer("adamw", rates=[("kernel", 0.5)], **options), zeros)
    np.testing.assert_allclose(params["dense"]["kernel"], 2 * (1 - 0.5 * 0.1 * 0.25), rtol=1e-6)


def test_adam_has_its_own_decays_and_epsilon():
    options = dict(b1=0.5, b2=0.6, eps=0.1)
    chains = (
        optimizer("adam", learning_rate=0.1, total_steps=9, **options),
        optax.adam(0.1, **options),
    )
    (found, _), (expected, _) = (moved(chain, lambda p, step: p, steps=3) for chain in chains)
    np.testing.assert_allclose(found["dense"]["bias"], expected["dense"]["bias"], rtol=1e-6)


def test_rates_by_name():
    chain = optimizer("sgd", learning_rate=0.1, total_steps=9, rates=[("kernel", 0.5)])
    params, _ = moved(chain, ones)
    np.testing.assert_allclose(params["dense"]["kernel"], 2 - 0.05, rtol=1e-6)
    np.testing.assert_allclose(params["dense"]["bias"], 2 - 0.1, rtol=1e-6)


def test_clipping_bounds_the_global_norm():
    chain = optimizer("sgd", learning_rate=1.0, total_steps=9, clip_norm=0.5)
    params, _ = moved(chain, ones)
    moves = jax.tree.map(lambda new, old: new - old, params, PARAMS)
    np.testing.assert_allclose(optax.tree.norm(moves), 0.5, rtol=1e-5)


def test_clipping_comes_before_the_direction():
    """Adam's first step is the rate, of a gradient of any norm."""
    chain = optimizer("adam", learning_rate=0.1, total_steps=9, clip_norm=0.01)
    params, _ = moved(chain, ones)
    np.testing.assert_allclose(params["dense"]["bias"], 1.9, rtol=1e-5)


def test_accumulation_is_the_mean_gradient_and_counts_one_move():
    gradients = [1.0, 3.0]
    two = optimizer("sgd", learning_rate=0.1, total_steps=9, accumulate=2, ema_decay=0.5)
    params, state = moved(
        two, lambda p, step: jax.tree.map(lambda x: x * 0 + gradients[step], p), steps=2
    )
    np.testing.assert_allclose(params["dense"]["bias"], 2 - 0.1 * 2, rtol=1e-6)
    leaves = jax.tree.leaves(state, is_leaf=lambda leaf: isinstance(leaf, EmaState))
    assert [int(leaf.moves) for leaf in leaves if isinstance(leaf, EmaState)] == [1]


def test_a_schedule_of_accumulated_gradients_ends_with_them():
    """Of eight gradients in pairs: a warm-up of one pair, then a cosine of three."""
    schedule = dict(schedule="cosine", warmup_steps=2, total_steps=8)
    plain = dict(learning_rate=0.1, momentum=0.0)
    chain = optimizer("sgd", accumulate=2, **plain, **schedule)
    params, _ = moved(chain, ones, steps=8)
    rates = [0.0, *(0.05 * (1 + math.cos(math.pi * n / 3)) for n in range(3))]
    np.testing.assert_allclose(params["dense"]["bias"], 2 - sum(rates), rtol=1e-6)


def test_ema_is_the_warmed_recursion_over_moved_parameters():
    chain = optimizer("sgd", learning_rate=0.1, momentum=0.0, total_steps=9, ema_decay=0.15)
    _, state = moved(chain, ones, steps=3)
    expected, value = 2.0, 2.0
    for step in range(3):
        value -= 0.1
        decay = min(0.15, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    leaves = jax.tree.leaves(state, is_leaf=lambda leaf: isinstance(leaf, EmaState))
    average = next(leaf.average for leaf in leaves if isinstance(leaf, EmaState))
    np.testing.assert_allclose(average["dense"]["bias"], expected, rtol=1e-6)


def test_schedule_end_points():
    cosine = learning_rate_schedule("cosine", peak=2.0, warmup_steps=10, total_steps=110)
    assert [float(cosine(step)) for step in (0, 5, 10)] == [0.0, 1.0, 2.0]
    np.testing.assert_allclose([cosine(60), cosine(110)], [1.0, 0.0], atol=1e-6)
    ending = dict(peak=2.0, warmup_steps=0, total_steps=10, final_rate=0.1)
    assert float(learning_rate_schedule("cosine", **ending)(10)) == pytest.approx(0.2)
    constant = learning_rate_schedule("constant", peak=2.0, warmup_steps=0, total_steps=1)
    assert float(constant(10**6)) == 2.0


def test_drops_multiply_what_follows():
    drops = [(10, 0.1), (30, 0.5)]
    rate = learning_rate_schedule("constant", peak=2.0, warmup_steps=4, total_steps=1, drops=drops)
    expected = [1.0, 2.0, 0.2, 0.2, 0.1]
    np.testing.assert_allclose([rate(n) for n in (2, 9, 10, 29, 30)], expected, rtol=1e-6)
    both = learning_rate_schedule(
        "constant", peak=2.0, warmup_steps=0, total_steps=1, drops=[(10, 0.1), (10, 0.5)]
    )
    np.testing.assert_allclose([both(9), both(10)], [2.0, 0.1], rtol=1e-6)


def test_drops_of_accumulated_gradients_are_counted_in_gradients():
    plain = dict(learning_rate=0.1, momentum=0.0, total_steps=8)
    chain = optimizer("sgd", accumulate=2, drops=[(4, 0.5)], **plain)
    params, _ = moved(chain, ones, steps=8)
    np.testing.assert_allclose(params["dense"]["bias"], 2 - 2 * 0.1 - 2 * 0.05, rtol=1e-6)


def test_matching_reads_whole_paths():
    assert matching("dense/k", PARAMS) == {"dense": {"kernel": True, "bias": False}}


@pytest.mark.parametrize("wrong", [{"name": "adm"}, {"schedule": "cosin"}])
def test_unknown_names_are_answered_with_near_ones(wrong):
    with pytest.raises(InputError, match=r"nearest: (adam|cosine)"):
        optimizer(learning_rate=0.1, total_steps=1, **wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        *({name: -1.0} for name in ("learning_rate", "clip_norm", "weight_decay", "final_rate")),
        *({name: 1.0} for name in ("b1", "b2", "ema_decay", "momentum")),
        {"warmup_steps": -5},
        {"clip_norm": 0.0},
        {"eps": -1e-8},
        *({name: math.nan} for name in ("learning_rate", "clip_norm", "weight_decay")),
        {"learning_rate": math.inf},
        {"drops": [(-10, 0.5)]},
        {"drops": [(10, -0.5)]},
    ],
)
def test_a_number_out_of_its_range_is_named(wrong):
    with pytest.raises(InputError, match=f"{next(iter(wrong))} is"):
        optimizer(**({"learning_rate": 0.1, "total_steps": 1} | wrong))


@pytest.mark.parametrize("factor", [-1.0, math.nan])
def test_a_factor_of_rates_is_no_climb(factor):
    with pytest.raises(InputError, match="factor of rates is"):
        optimizer(learning_rate=0.1, total_steps=1, rates=[("kernel", factor)])
