"""The seam: who moves at which state, and that the rooms around it know no family of methods."""

import re

import jax
import numpy as np
import pytest

from research.configuration import TREE
from research.environments.worlds import ENVIRONMENTS
from research.registry import METHODS
from research.training.method import play, play_together
from tests.training.regression import Regression, iterator

FAMILY_WORDS = {"vae", "iwae", "gan", "generator", "discriminator", "critic", "ppo", "rollout"}


@pytest.fixture
def before():
    return Regression().init(jax.random.key(0), next(iterator()))


def by_turns(state, objectives, batch, rng):
    for objective in objectives:
        state, _ = play(objective, state, batch, rng)
    return state


def test_players_that_move_together_see_the_same_state(before):
    """The second player's move depends on the first's when they alternate, and does not here."""
    model, scale = (
        objective.__class__(objective.group, objective.loss, objective.optimizer)
        for objective in Regression().objectives()
    )
    batch, rng = next(iterator()), jax.random.key(1)
    together, metrics = play_together([model, scale], before, batch, rng)
    alone, _ = play(scale, before, batch, rng)
    alternating = by_turns(before, [model, scale], batch, rng)
    np.testing.assert_array_equal(together.params["scale"]["s"], alone.params["scale"]["s"])
    assert together.params["scale"]["s"] != alternating.params["scale"]["s"]
    assert (together.params["model"]["w"] != before.params["model"]["w"]).any()
    assert {name.split("/")[0] for name in metrics} == {"model", "scale"}


def test_players_in_the_other_order_move_together_alike(before):
    batch, rng = next(iterator()), jax.random.key(1)
    model, scale = Regression().objectives()
    one, _ = play_together([model, scale], before, batch, rng)
    other, _ = play_together([scale, model], before, batch, rng)
    jax.tree.map(np.testing.assert_array_equal, one.params, other.params)


def test_no_room_around_the_seam_names_a_family():
    """The loop, checkpoints, sharding, logs and commands serve methods they have never heard of."""
    words = FAMILY_WORDS | METHODS.keys() | ENVIRONMENTS.keys()
    found = [
        f"{path.relative_to(TREE)} names {word!r}"
        for path in [*TREE.glob("research/training/*.py"), *TREE.glob("launch/*.py")]
        for word in words
        if re.search(rf"(?<![a-z]){word}(?![a-z])", code(path.read_text()).lower())
    ]
    assert not found


def code(text):
    """The text without its docstrings and comments, where an example may name what it likes."""
    return re.sub(r'"""(.|\n)*?"""|#.*', "", text)
