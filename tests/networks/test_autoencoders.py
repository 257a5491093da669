"""MLPs and the convolutional pyramid: shapes, every parameter used, sides that can't be halved."""

import functools

import jax
import jax.numpy as jnp
import pytest

from research.errors import InputError
from research.networks.conv_autoencoder import ConvDecoder, ConvEncoder
from research.networks.mlp import MLP, MLPDecoder, MLPEncoder

SHAPE = (4, 8, 2)


@pytest.mark.parametrize(
    ("encoder", "decoder"),
    [
        (MLPEncoder(5, (7, 6)), MLPDecoder(SHAPE, (6, 7))),
        (MLPEncoder(5, ()), MLPDecoder(SHAPE, ())),
        (ConvEncoder(5, width=2, levels=1), ConvDecoder(SHAPE, width=2, levels=1)),
    ],
)
def test_shapes_and_gradients(encoder, decoder):
    images = jax.random.normal(jax.random.key(0, impl="rbg"), (3, *SHAPE))
    rngs = jax.random.split(jax.random.key(1, impl="rbg"))

    def outputs(params):
        mean, log_std = encoder.apply(params["encoder"], images)
        return mean, log_std, decoder.apply(params["decoder"], mean + jnp.exp(log_std))

    @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def run():
        params = {
            "encoder": encoder.init(rngs[0], images),
            "decoder": decoder.init(rngs[1], jnp.zeros((1, 5))),
        }
        return outputs(params), jax.grad(lambda p: jnp.sum(outputs(p)[2] ** 2))(params)

    (mean, log_std, decoded), gradient = run()
    assert mean.shape == log_std.shape == (3, 5) and decoded.shape == images.shape
    assert all(jnp.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradient))


def test_a_black_image_is_no_ink_to_an_mlp():
    encoder, black = MLPEncoder(5, (7, 6)), jnp.full((1, *SHAPE), -1.0)
    (mean, log_std), _ = encoder.init_with_output(jax.random.key(0, impl="rbg"), black)
    assert not mean.any() and not log_std.any()
    (seen, _), _ = encoder.init_with_output(jax.random.key(0, impl="rbg"), -black)
    assert seen.any()


def test_an_mlp_keeps_leading_axes():
    x = jnp.ones((2, 3, 4))
    for network, width in ((MLP((5,), 6), 6), (MLP((5,)), 5), (MLP((), 2), 2)):
        output, _ = network.init_with_output(jax.random.key(0, impl="rbg"), x)
        assert output.shape == (2, 3, width)


def test_an_activation_that_is_not_there():
    with pytest.raises(InputError, match="nearest: relu"):
        MLP((5,), activation="relo").init(jax.random.key(0, impl="rbg"), jnp.ones((1, 2)))


@pytest.mark.parametrize("network", [ConvEncoder(5, levels=3), ConvDecoder(SHAPE, levels=3)])
def test_a_side_that_cannot_be_halved(network):
    x = jnp.zeros((1, *SHAPE) if isinstance(network, ConvEncoder) else (1, 5))
    with pytest.raises(InputError, match=r"4x8 can't be halved 3 times: .* multiples of 8"):
        network.init(jax.random.key(0, impl="rbg"), x)
