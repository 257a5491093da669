"""The GAN's play: who moves, by which loss and on which fakes; it learns, resumes and refuses."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from research.errors import InputError
from research.methods.gan_losses import gradient_penalty, packed, r1
from research.training.checkpoints import Checkpoints
from research.training.loop import train
from research.training.optimizers import EmaState
from research.training.rng import named
from research.training.sharding import make_mesh
from research.training.state import sha256
from tests.methods.players import IMAGES, MIXTURE, POINTS, RNG, images, points, started, sure


def changed(before, after):
    return {
        group
        for group in before.params
        if sha256(before.params[group]) != sha256(after.params[group])
    }


@pytest.mark.parametrize(
    "arguments", [{}, {"packing": 2, "play": "simultaneous"}, {"packing": 3, "r1": 1.0}]
)
def test_both_players_move_and_the_statistics_run(arguments):
    made = points(**arguments)
    before = started(made, POINTS)
    after, metrics = jax.jit(made.step)(before, POINTS, RNG)
    assert changed(before, after) == {"generator", "discriminator"} and int(after.step) == 1
    running = after.extra["generator_statistics"]["norm0"]
    assert float(jnp.abs(running["mean"]).max()) > 0
    assert {"generator/coverage", "generator/loss", "discriminator/real_logit"} <= metrics.keys()
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a.shape, b.shape), before, after)


def test_a_loss_reads_the_parameters_it_is_given_for_its_group():
    made = points()
    state = started(made, POINTS)
    with_other = dataclasses.replace(
        state,
        params=state.params
        | {"generator": jax.tree.map(jnp.zeros_like, state.params["generator"])},
    )
    own = state.params["generator"]
    losses = [made.generator_loss(own, s, POINTS, RNG)[0] for s in (state, with_other)]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("packing", [1, 2])
def test_the_discriminators_loss_is_the_sum_of_its_parts(packing):
    """On the live generator's fakes, whatever its average; the running statistics stay."""
    made = points(packing=packing, r1=0.3, gradient_penalty=0.7)
    state = sure(started(made, POINTS))
    live, params = state.params["generator"], state.params["discriminator"]
    average = EmaState(jnp.int32(1), jax.tree.map(jnp.zeros_like, live))
    state = dataclasses.replace(state, opt_state=state.opt_state | {"generator": average})
    loss, aux = made.discriminator_loss(params, state, POINTS, RNG)
    fake, _ = made.fakes(live, state, POINTS, RNG)
    real, fake = (packed(x, packing) for x in (made.examples(POINTS), fake))
    score = made.score(params, None)
    # Real, fake and regularizers in turn, each of a size that would be missed.
    terms = [
        jnp.mean(jax.nn.softplus(-score(real))),
        jnp.mean(jax.nn.softplus(score(fake))),
        0.3 * r1(score, real),
        0.7 * gradient_penalty(score, real, fake, named(RNG, "penalty")),
    ]
    assert min(map(float, terms)) > 0.01 and not aux.extra
    assert float(loss) == pytest.approx(float(sum(terms)), rel=1e-5)
    logits = float(jnp.mean(score(real))), float(jnp.mean(score(fake)))
    assert logits[0] != pytest.approx(logits[1], abs=0.01)
    found = aux.metrics["real_logit"], aux.metrics["fake_logit"]
    np.testing.assert_allclose(found, logits, rtol=1e-4)


@pytest.mark.parametrize("made", [points(packing=2), images(loss="hinge")])
def test_the_generators_loss_is_of_its_own_fakes_and_their_classes(made):
    batch = POINTS if made.mixture else IMAGES
    state = sure(started(made, batch))
    own = state.params["generator"]
    loss, aux = made.generator_loss(own, state, batch, RNG)
    fake, statistics = made.fakes(own, state, batch, RNG)
    score = made.score(state.params["discriminator"], made.labels(batch))
    expected = jnp.mean(made.loss.generator(score(packed(fake, made.packing))))
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)
    assert sha256(dict(aux.extra)) == sha256(statistics)


def test_both_players_are_told_the_classes():
    made = images(loss="wasserstein")
    state = sure(started(made, IMAGES))
    others = IMAGES | {"label": (IMAGES["label"] + 1) % 3}
    own = state.params
    fakes = [made.fakes(own["generator"], state, batch, RNG)[0] for batch in (IMAGES, others)]
    assert float(jnp.abs(fakes[0] - fakes[1]).max()) > 1e-3
    for group, loss in (
        ("discriminator", made.discriminator_loss),
        ("generator", made.generator_loss),
    ):
        # With the generator deaf to classes, the discriminator's own ear is what is left.
        deaf = own | {"generator": own["generator"] | {"classes": {"embedding": jnp.ones((3, 4))}}}
        held = dataclasses.replace(state, params=deaf)
        one, other = (loss(deaf[group], held, batch, RNG)[0] for batch in (IMAGES, others))
        assert float(jnp.abs(one - other)) > 1e-4, group


def test_simultaneous_play_is_each_players_gradient_at_the_same_state():
    """Both on the same fakes; alternating play's generator meets a discriminator that moved."""
    h = 0.1
    descent = dict.fromkeys(("generator", "discriminator"), optax.sgd(h))
    made = points(play="simultaneous", optimizers=descent)
    state = started(made, POINTS)
    batch = POINTS | {"latent": made.latents(RNG, 24)}
    after, _ = jax.jit(made.step)(state, POINTS, RNG)
    for group, loss in (
        ("generator", made.generator_loss),
        ("discriminator", made.discriminator_loss),
    ):
        gradient = jax.grad(lambda p, loss=loss: loss(p, state, batch, RNG)[0])(state.params[group])
        expected = jax.tree.map(lambda p, g: p - h * g, state.params[group], gradient)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7),
            after.params[group],
            expected,
        )


def test_alternating_play_meets_the_discriminator_that_moved():
    still = {"generator": optax.sgd(0.1), "discriminator": optax.sgd(0.0)}
    moving = still | {"discriminator": optax.sgd(1.0)}
    made = [points(optimizers=o) for o in (still, moving)]
    state = started(made[0], POINTS)
    first, second = (jax.jit(m.step)(state, POINTS, RNG)[0].params["generator"] for m in made)
    assert sha256(first) != sha256(second)


def test_n_critic_moves_the_discriminator_more_often():
    descent = dict.fromkeys(("generator", "discriminator"), optax.adam(1e-3))
    made = points(n_critic=3, optimizers=descent)
    state = started(made, POINTS)
    after, _ = jax.jit(made.step)(state, POINTS, RNG)
    counts = {group: int(after.opt_state[group][0].count) for group in after.opt_state}
    assert counts == {"discriminator": 3, "generator": 1}


def test_it_learns_a_ring():
    """Its samples come nearer to the modes than those of a fresh generator.

    With R1: without it the players circle (1801.04406), and where they are is chance.
    """
    made = points(rate=1e-3, r1=1.0)
    state = started(made, POINTS)
    step = jax.jit(made.step)

    def distance(state):
        drawn = made.sample(state, RNG, count=200)["points"]
        return float(
            jnp.mean(jnp.linalg.norm(drawn[:, None] - MIXTURE.centres, axis=-1).min(axis=1))
        )

    before = distance(state)
    for i in range(1250):
        state, _ = step(state, POINTS, jax.random.fold_in(RNG, i))
    assert distance(state) < before / 2


def batches(poison_at=None):
    """POINTS as a Grain iterator; batch `poison_at` has a NaN."""
    import grain

    def batch(index):
        drawn = MIXTURE.draw(24, seed=index).astype(np.float32)
        return {"point": drawn * np.float32(np.nan if index == poison_at else 1)}

    return iter(grain.MapDataset.range(100).map(batch).to_iter_dataset())


def fit(folder, *, steps, poison_at=None):
    checkpoints = Checkpoints(folder, keep=3)
    try:
        return train(
            points(n_critic=2, ema_decay=0.9), batches(poison_at), example=POINTS, steps=steps,
            seed=0, mesh=make_mesh(), checkpoints=checkpoints, checkpoint_every=2,
        )  # fmt: skip
    finally:
        checkpoints.close()


def test_a_resumed_run_is_the_whole_run(tmp_path):
    whole = fit(tmp_path / "whole", steps=6)
    fit(tmp_path / "parts", steps=4)
    assert sha256(fit(tmp_path / "parts", steps=6)) == sha256(whole)


def test_a_nan_in_the_critic_ends_in_one_line_and_the_last_good_checkpoint(tmp_path):
    with pytest.raises(InputError, match=r"discriminator/.* is nan.* at step 4 "):
        fit(tmp_path, steps=6, poison_at=3)
    assert Checkpoints(tmp_path, keep=3).latest == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": "hing"}, "no loss 'hing'; nearest: hinge"),
        ({"play": "together"}, "no play 'together'"),
        ({"n_critic": 0}, "n_critic is 0; 1 is the least"),
        ({"play": "simultaneous", "n_critic": 2}, "n_critic is 2"),
        ({"packing": 2, "num_classes": 3}, "packing 2 needs num_classes=0"),
        ({"networks": {"critic": None}}, "network has critic; allowed: discriminator, generator"),
    ],
)
def test_a_bad_argument_is_named(arguments, message):
    with pytest.raises(InputError, match=message):
        points(**arguments)


def test_a_batch_must_make_whole_packs():
    with pytest.raises(InputError, match="batch of 24 doesn't make packs of 5"):
        points(packing=5).init(RNG, POINTS)
