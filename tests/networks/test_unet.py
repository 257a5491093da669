"""The UNet: sizes, what it depends on, and that every parameter learns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.errors import InputError
from research.networks.unet import UNet, depth_to_space, sinusoidal, space_to_depth

TINY = {
    "channels": 8,
    "multipliers": (1, 2),
    "blocks": 1,
    "attention_resolutions": (4,),
    "head_channels": 8,
}
FLAT = TINY | {"multipliers": (1,), "attention_resolutions": ()}


def made(network, shape=(2, 8, 8, 1)):
    """Random parameters, none of DDPM's zeros among them, an image and times."""
    draw = np.random.default_rng(0).normal
    x, t = jnp.array(draw(size=shape), jnp.float32), jnp.array([3.0, 900.0])
    variables = jax.eval_shape(network.init, jax.random.key(0), x, t)
    return jax.tree.map(lambda p: jnp.array(draw(size=p.shape) / 4, p.dtype), variables), x, t


@pytest.mark.parametrize(
    ("side", "multipliers", "patch_size"), [(28, (1, 1, 1), 1), (28, (1, 1), 2), (7, (1,), 1)]
)
def test_output_has_the_shape_of_the_image(side, multipliers, patch_size):
    network = UNet(
        channels=4, multipliers=multipliers, blocks=1, patch_size=patch_size, out_factor=2
    )
    x = jnp.zeros((2, side, side, 3))
    output, _ = jax.eval_shape(network.init_with_output, jax.random.key(0), x, jnp.zeros(2))
    assert output.shape == (2, side, side, 6) and output.dtype == jnp.float32


@pytest.mark.parametrize(("side", "patch_size"), [(14, 1), (9, 3)])
def test_a_side_that_cannot_be_halved_is_named(side, patch_size):
    network = UNet(**FLAT | {"multipliers": (1, 1, 1), "patch_size": patch_size})
    with pytest.raises(InputError, match=f"side of {side} "):
        network.init(jax.random.key(0), jnp.zeros((1, side, side, 1)), jnp.zeros(1))


@pytest.mark.parametrize("channels", [28, 20])
def test_channels_that_heads_do_not_divide_are_named(channels):
    network = UNet(**FLAT | {"channels": channels, "head_channels": 8})
    with pytest.raises(InputError, match=r"\d+ channels can't be shared by \d heads of 8"):
        network.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)), jnp.zeros(1))


@pytest.mark.parametrize(("patch_size", "heights"), [(1, "8, 4"), (2, "4, 2")])
def test_attention_at_a_height_that_no_level_has_is_named(patch_size, heights):
    network = UNet(**TINY | {"attention_resolutions": (4, 7), "patch_size": patch_size})
    with pytest.raises(InputError, match=f"has 7; the levels' heights are {heights}"):
        network.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)), jnp.zeros(1))


def test_one_channel_would_not_know_the_time():
    with pytest.raises(InputError, match="channels is 1; 2 is the least"):
        UNet(**TINY | {"channels": 1}).init(
            jax.random.key(0), jnp.zeros((1, 8, 8, 1)), jnp.zeros(1)
        )


@pytest.mark.parametrize(
    "size", [{"channels": 0}, {"head_channels": 0}, {"patch_size": 0}, {"multipliers": (1, 0)}]
)
def test_a_size_of_0_is_named(size):
    with pytest.raises(InputError, match=rf"{next(iter(size))} is 0; \d is the least"):
        UNet(**TINY | size).init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)), jnp.zeros(1))


def test_zero_before_training():
    x = jnp.ones((1, 8, 8, 1))
    rng = jax.random.key(0, impl="rbg")  # compiles in half the time
    output, _ = jax.jit(UNet(**FLAT).init_with_output)(rng, x, jnp.zeros(1))
    np.testing.assert_array_equal(output, 0)


@pytest.mark.parametrize(("sizes", "scale_shift"), [(TINY, True), (FLAT, False)])
def test_every_parameter_gets_a_gradient(sizes, scale_shift):
    network = UNet(**sizes, num_classes=3, scale_shift=scale_shift)
    variables, x, t = made(network)
    labels = jnp.array([0, 2])
    loss = jax.jit(jax.grad(lambda v: jnp.sum(network.apply(v, x, t, labels) ** 3)))
    gradient = loss(variables)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        assert jnp.any(leaf != 0), jax.tree_util.keystr(path)


def test_time_and_class_and_dropout_matter_and_examples_do_not_mix():
    network = UNet(**TINY, num_classes=3, dropout=0.3)
    variables, x, t = made(network)
    labels = jnp.array([0, 2])
    apply = jax.jit(network.apply, static_argnames="train")
    output = apply(variables, x, t, labels)
    assert not np.allclose(output, apply(variables, x, t + 50, labels), atol=1e-3)
    assert not np.allclose(output, apply(variables, x, t, jnp.array([1, 2])), atol=1e-3)
    null = apply(variables, x, t, jnp.array([3, 3]))
    np.testing.assert_array_equal(null, apply(variables, x, t))
    rngs = {"dropout": jax.random.key(4)}
    trained = apply(variables, x, t, labels, train=True, rngs=rngs)
    assert not np.allclose(output, trained, atol=1e-3)
    other = apply(variables, x.at[1].set(0), t, labels)
    np.testing.assert_allclose(other[0], output[0], atol=1e-5)


def test_computes_in_bfloat16_with_float32_parameters():
    network = UNet(**FLAT, dtype=jnp.bfloat16)
    variables, x, t = made(network)
    output = jax.jit(network.apply)(variables, x, t)
    assert output.dtype == jnp.float32
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))
    exact = jax.jit(UNet(**FLAT).apply)(variables, x, t)
    assert 0 < jnp.abs(output - exact).max() < 0.1 * jnp.abs(exact).max()


def test_patches_fold_and_unfold():
    x = jnp.arange(2 * 4 * 6 * 3.0).reshape(2, 4, 6, 3)
    folded = space_to_depth(x, 2)
    assert folded.shape == (2, 2, 3, 12)
    np.testing.assert_array_equal(folded[0, 0, 0, :3], x[0, 0, 0])
    np.testing.assert_array_equal(folded[0, 0, 0, 3:6], x[0, 0, 1])
    np.testing.assert_array_equal(depth_to_space(folded, 2), x)


def test_sinusoidal_embedding_is_its_formula():
    """1706.03762, section 3.5: t / 10000^(2 i / width), its cosines and then its sines."""
    t = np.array([0.0, 1.0, 7.5, 500.0, 999.0])
    phases = t[:, None] / 10_000 ** (2 * np.arange(16) / 32)
    expected = np.concatenate([np.cos(phases), np.sin(phases)], axis=1)
    np.testing.assert_allclose(sinusoidal(jnp.float32(t), 32), expected, atol=2e-4)
