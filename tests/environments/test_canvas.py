"""The canvas: no pressure leaves no mark, rewards add up, and what random search is worth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.environments.canvas import Canvas, distance, random_search
from research.errors import InputError

KEY = jax.random.key(0)


def canvas(channels=1, **arguments):
    return Canvas(image_shape=(8, 8, channels), levels=17, **{"strokes": 12} | arguments)


def target(channels=1):
    image = np.random.default_rng(0).integers(0, 17, (8, 8, channels), dtype=np.uint8)
    return canvas(channels).params({"image": jnp.asarray(image)})


def test_a_stroke_of_no_pressure_leaves_the_canvas_as_it_is():
    painted = target(3)
    action = jnp.array([0.2, -0.4, -1.0, 1.0, -1.0, 0.5])
    np.testing.assert_array_equal(canvas(3).stroke(painted, action), painted)


def test_a_stroke_covers_its_place_fades_away_from_it_and_stays_in_range():
    painted = canvas(3).stroke(canvas(3).empty(), jnp.array([-1.0, 1.0, 1.0, 1.0, 0.0, -1.0]))
    np.testing.assert_allclose(painted[7, 0], [1, 0, -1], atol=0.05)
    red = painted[7, :, 0]
    assert bool((jnp.diff(red) <= 0).all()) and float(red[-1]) == pytest.approx(-1, abs=1e-3)
    assert float(jnp.abs(painted).max()) <= 1


def test_a_stroke_pressed_harder_covers_more():
    inks = [
        float((canvas().stroke(canvas().empty(), jnp.array([0.1, 0.1, p, 1.0])) + 1).sum())
        for p in (-1.0, -0.5, 0.0, 0.5, 1.0)
    ]
    assert inks[0] == 0 and all(np.diff(inks) > 0)


def test_rewards_add_up_to_the_decrease_of_the_distance():
    world, wanted = canvas(), target()
    strokes = world.action_space.sample(KEY, (12,))

    def one(state, action):
        step = world.step(KEY, state, action, jnp.zeros_like(wanted))
        return step.state, step

    _, steps = jax.lax.scan(one, world.reset(KEY, wanted)[1], strokes)
    last = steps.info["final_observation"][-1, ..., :1]
    decrease = distance(world.empty(), wanted) - distance(last, wanted)
    assert float(steps.reward.sum()) == pytest.approx(float(decrease), abs=1e-5)
    assert steps.terminated.tolist() == [False] * 11 + [True]
    np.testing.assert_array_equal(
        steps.info["final_observation"][..., 1:2], wanted[None].repeat(12, 0)
    )
    np.testing.assert_array_equal(steps.observation[-1, ..., 1:2], 0)  # the next episode's target


def test_the_picture_is_the_canvas_beside_its_target():
    world, wanted = canvas(3), target(3)
    picture = world.render(world.reset(KEY, wanted)[0])
    np.testing.assert_array_equal(picture, jnp.concatenate([world.empty(), wanted], axis=1))


def test_random_search_never_recedes_and_more_tries_come_nearer():
    world, wanted = canvas(strokes=60), target()
    start = float(distance(world.empty(), wanted))
    one = float(distance(random_search(world, KEY, wanted), wanted))
    eight = float(distance(random_search(world, KEY, wanted, tries=8), wanted))
    assert eight < one < start
    found = world.baselines(KEY, wanted)
    assert float(found["perfect"]) == start
    assert float(found["random_search"]) == pytest.approx(start - one, abs=1e-6)
    assert float(found["best_of_8_search"]) == pytest.approx(start - eight, abs=1e-6)


def test_random_search_keeps_the_canvas_where_nothing_helps():
    world = canvas(strokes=20)
    np.testing.assert_array_equal(random_search(world, KEY, world.empty()), world.empty())


def test_no_strokes_are_named():
    with pytest.raises(InputError, match="strokes is 0; 1 is the least"):
        canvas(strokes=0)
