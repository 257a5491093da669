"""The GAN's examples: their statistics, packs and classes; what is sampled and how it is judged."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.errors import InputError
from research.methods.gan_losses import packed
from research.training.optimizers import averaged
from research.training.state import sha256
from tests.methods.players import IMAGES, MIXTURE, POINTS, RNG, images, points, started, sure


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
    # The first weights' variances are too small to be seen beside the 0.95 of before.
    wide = jax.tree.map(lambda leaf: 50 * leaf, state.params["generator"])
    _, extra = made.fakes(wide, state, POINTS | {"latent": z}, RNG)
    h = z @ wide["hidden0"]["kernel"]
    blocks = jnp.stack([jnp.var(h[place::2], axis=0) for place in (0, 1)])
    assert float(jnp.abs(blocks[0] - blocks[1]).max()) > 0.1
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
    # Within 3 deviations, which are 0.3 here.
    beside = jnp.asarray(MIXTURE.centres[:1], jnp.float32)
    assert float(of_points.coverage(1.29 * beside, real)) == 0.25
    assert float(of_points.coverage(1.31 * beside, real)) == 0
    real = of_images.examples(IMAGES)
    assert float(of_images.coverage(jnp.zeros_like(real), real)) == 0
    assert float(of_images.coverage(real / 2, real)) == pytest.approx(0.5)
    assert float(of_images.coverage(real[::-1], real)) == pytest.approx(1)
    assert set(of_points.alarms) == {"generator/coverage"}


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


def test_evaluation_is_of_the_averaged_generator_and_of_each_examples_own_pack():
    made = points(packing=2, ema_decay=0.9)
    state = sure(started(made, POINTS))
    state, _ = jax.jit(made.step)(state, POINTS, RNG)
    found = made.evaluate(state, POINTS, RNG)
    score = made.score(state.params["discriminator"], None)
    on_real = score(packed(made.examples(POINTS), 2))
    on_fake = score(packed(made.draw(state, made.latents(RNG, 24)), 2))
    loss = jax.nn.softplus(-on_real) + jax.nn.softplus(on_fake)
    assert float(jnp.abs(on_real - on_fake).max()) > 0.01
    for name, expected in (
        ("real_logit", on_real),
        ("fake_logit", on_fake),
        ("discriminator_loss", loss),
    ):
        for place in (0, 1):
            np.testing.assert_allclose(found[name][place::2], expected, rtol=1e-4, err_msg=name)


def test_samples_are_of_the_classes_asked_for():
    made = images()
    state = started(made, IMAGES)
    ones, mixed = (
        made.sample(state, RNG, count=4, labels=labels)["images"]
        for labels in ([1, 1, 1, 1], [1, 2, 1, 2])
    )
    np.testing.assert_array_equal(ones[::2], mixed[::2])
    assert float(jnp.abs(ones[1::2] - mixed[1::2]).max()) > 1e-4
