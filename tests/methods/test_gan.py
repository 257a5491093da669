"""The GAN: who moves, on which fakes, by which statistics; it learns, resumes and refuses."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from research.data.mixtures import ring
from research.errors import InputError
from research.methods.gan import GAN
from research.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from research.networks.maxout import BatchNormGenerator, MaxoutDiscriminator
from research.training.checkpoints import Checkpoints
from research.training.loop import train
from research.training.optimizers import averaged, optimizer
from research.training.sharding import make_mesh
from research.training.state import sha256

RNG = jax.random.key(0, impl="rbg")  # compiles in half the time
MIXTURE = ring(4, std=0.1)
POINTS = {"point": MIXTURE.draw(24, seed=0).astype(np.float32)}
IMAGES = {
    "image": np.random.default_rng(0).integers(0, 17, (6, 8, 8, 1), dtype=np.uint8),
    "label": np.arange(6, dtype=np.int32) % 3,
}


def points(*, rate=1e-2, ema_decay=None, **arguments):
    networks = {
        "generator": BatchNormGenerator(2, width=16, layers=2),
        "discriminator": MaxoutDiscriminator(width=8, layers=2, pieces=3),
    }
    made = {
        role: optimizer(learning_rate=rate, total_steps=9, ema_decay=ema_decay) for role in networks
    }
    arguments = {"networks": networks, "optimizers": made, "mixture": MIXTURE} | arguments
    return GAN(dim=2, latent_dim=2, **arguments)


def images(**arguments):
    networks = {
        "generator": DCGANGenerator((8, 8, 1), channels=(8, 4), num_classes=3),
        "discriminator": DCGANDiscriminator(channels=(4, 8), num_classes=3),
    }
    made = dict.fromkeys(networks, optimizer(learning_rate=1e-3, total_steps=9))
    arguments = {"networks": networks, "optimizers": made, "num_classes": 3} | arguments
    return GAN(image_shape=(8, 8, 1), levels=17, latent_dim=4, **arguments)


def started(made, batch):
    """The state before the first step."""
    quickly = {"xla_backend_optimization_level": 0}
    return jax.jit(made.init, compiler_options=quickly)(RNG, batch)


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


def test_a_loss_moves_its_own_group_alone():
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


def test_training_normalises_each_block_of_a_pack_by_itself():
    """Fakes of place i change only with the latents of place i."""
    made = points(packing=2)
    state = started(made, POINTS)
    z = made.latents(RNG, 24)
    other = z.at[1::2].set(made.latents(jax.random.key(1), 12))
    fake, moved = (
        made.fakes(state.params["generator"], state, POINTS | {"latent": latent}, RNG)[0]
        for latent in (z, other)
    )
    np.testing.assert_array_equal(fake[::2], moved[::2])
    assert float(jnp.abs(fake[1::2] - moved[1::2]).min()) > 0


def test_running_statistics_are_the_mean_of_the_blocks():
    made = points(packing=2)
    state = started(made, POINTS)
    z = made.latents(RNG, 24)
    _, extra = made.fakes(state.params["generator"], state, POINTS | {"latent": z}, RNG)
    h = z @ state.params["generator"]["hidden0"]["kernel"]
    blocks = jnp.stack([jnp.var(h[place::2], axis=0) for place in (0, 1)])
    running = extra["generator_statistics"]["norm0"]["var"]
    np.testing.assert_allclose(running, 0.95 + 0.05 * jnp.mean(blocks, axis=0), rtol=1e-5)


def test_samples_use_running_statistics():
    """A sample doesn't depend on the others drawn with it."""
    made = points()
    state, _ = jax.jit(made.step)(started(made, POINTS), POINTS, RNG)
    z = made.latents(RNG, 8)
    np.testing.assert_allclose(
        made.draw(state, z)[:3], made.draw(state, z[:3]), rtol=1e-5, atol=1e-8
    )
    in_training, _ = made.fakes(state.params["generator"], state, POINTS | {"latent": z}, RNG)
    assert float(jnp.abs(in_training - made.draw(state, z)).max()) > 1e-3


def test_samples_are_of_the_averaged_generator():
    made = points(ema_decay=0.9)
    state = started(made, POINTS)
    for _ in range(3):
        state, _ = jax.jit(made.step)(state, POINTS, RNG)
    drawn = made.sample(state, RNG, count=5)["points"]
    live = state.params["generator"]
    assert sha256(averaged(state, "generator")) != sha256(live)
    of_average = dataclasses.replace(
        state, opt_state={}, params={"generator": averaged(state, "generator")}
    )
    np.testing.assert_allclose(drawn, made.sample(of_average, RNG, count=5)["points"], rtol=1e-5)


def test_the_class_is_projected_on_the_discriminators_features():
    """1802.05637: the class moves a logit by <embedding, features>, the generator by its input."""
    made = images()
    state = started(made, IMAGES)
    real = made.examples(IMAGES)
    scores = jnp.stack(
        [made.score(state.params["discriminator"], jnp.full(6, k))(real) for k in range(3)]
    )
    plain = made.networks["discriminator"].apply({"params": state.params["discriminator"]}, real)
    table = state.params["discriminator"]["classes"]["embedding"]
    zeroed = state.params["discriminator"] | {"classes": {"embedding": 0 * table}}
    doubled = state.params["discriminator"] | {"classes": {"embedding": 2 * table}}
    twice = made.score(doubled, made.labels(IMAGES))(real) - plain
    once = made.score(state.params["discriminator"], made.labels(IMAGES))(real) - plain
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(
        made.score(zeroed, made.labels(IMAGES))(real), plain, rtol=1e-5, atol=1e-7
    )
    assert float(jnp.abs(scores - plain).min()) > 0
    drawn = made.sample(state, RNG, count=4)
    assert drawn["images"].shape == (4, 8, 8, 1) and drawn["labels"].tolist() == [0, 1, 2, 0]


def test_coverage_is_0_for_one_fake_and_whole_for_the_data():
    of_points, of_images = points(), images()
    real, fake = of_points.examples(POINTS), jnp.zeros((24, 2))
    assert float(of_points.coverage(fake, real)) == 0
    assert float(of_points.coverage(real, real)) == 1
    assert float(of_points.coverage(jnp.asarray(MIXTURE.centres[:3]), real)) == 0.75
    real = of_images.examples(IMAGES)
    assert float(of_images.coverage(jnp.zeros_like(real), real)) == 0
    assert float(of_images.coverage(real[::-1], real)) == pytest.approx(1)
    assert set(of_points.alarms) == {"generator/coverage"}


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


@pytest.mark.parametrize("made", [points(packing=2), images(loss="hinge", gradient_penalty=1.0)])
def test_evaluation_is_per_example_beside_chance(made):
    batch = POINTS if made.mixture else IMAGES
    state = started(made, batch)
    metrics = jax.jit(made.evaluate)(state, batch, RNG)
    assert all(value.shape == (len(made.examples(batch)),) for value in metrics.values())
    chance = {"non_saturating": 2 * np.log(2), "hinge": 2}[
        "non_saturating" if made.mixture else "hinge"
    ]
    np.testing.assert_allclose(metrics["chance_loss"], chance, rtol=1e-6)


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


@pytest.mark.parametrize(
    ("labels", "message"),
    [([0, 3], r"in 0\.\.2"), ([-1, 0], r"in 0\.\.2"), ([1], r"shape \(1,\)")],
)
def test_labels_out_of_range(labels, message):
    made = images()
    with pytest.raises(InputError, match=message):
        made.sample(started(made, IMAGES), RNG, count=2, labels=labels)


def test_labels_need_classes():
    made = points()
    with pytest.raises(InputError, match="a model with classes"):
        made.sample(started(made, POINTS), RNG, count=1, labels=[0])
