"""The networks of GANs: PacGAN's shapes and starts, maxout's gradient, sides that can't be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.errors import InputError
from research.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from research.networks.maxout import BatchNormGenerator, MaxoutDiscriminator, largest

RNG = jax.random.key(0, impl="rbg")


def sizes(params):
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def test_pacgans_networks_have_the_papers_parameters():
    """2-400-400-400-400-2 with scale and shift of each norm; 2m - three of 5 x 200 - 1."""
    generator = jax.eval_shape(BatchNormGenerator(2).init, RNG, jnp.zeros((1, 2)))["params"]
    assert sizes(generator) == 2 * 400 + 3 * 400**2 + 4 * 800 + 400 * 2 + 2
    for packing in (1, 3):
        points = jnp.zeros((1, 2 * packing))
        params = jax.eval_shape(MaxoutDiscriminator().init, RNG, points)["params"]
        assert sizes(params) == 1000 * (2 * packing + 1) + 2 * 1000 * 201 + 201


def test_weights_start_narrow_and_biases_at_0():
    params = jax.jit(MaxoutDiscriminator().init)(RNG, jnp.zeros((1, 2)))["params"]
    assert float(jnp.std(params["maxout1"]["kernel"])) == pytest.approx(0.02, rel=0.02)
    assert not jnp.any(params["maxout1"]["bias"])


def test_largest_and_its_gradient_are_those_of_a_maximum():
    h = jax.random.normal(RNG, (4, 15))

    def reference(h):
        return jnp.max(h.reshape(-1, 5, 3), axis=1)

    np.testing.assert_array_equal(largest(h, 5), reference(h))
    found, expected = (
        jax.grad(lambda h, f=f: jnp.sum(jnp.sin(f(h))))(h)
        for f in (lambda h: largest(h, 5), reference)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("shape", [(8, 8, 1), (12, 8, 3)])
def test_dcgan_makes_and_reads_images(shape):
    generator = DCGANGenerator(shape, channels=(8, 4), num_classes=3)
    z, labels = jnp.ones((2, 5)), jnp.array([0, 2])
    images, variables = generator.init_with_output(RNG, z, labels)
    assert images.shape == (2, *shape) and float(jnp.abs(images).max()) <= 1
    assert variables["batch_stats"]["norm0"]["mean"].shape == (8,)
    logits, _ = DCGANDiscriminator(channels=(4, 8)).init_with_output(RNG, images)
    assert logits.shape == (2,)


@pytest.mark.parametrize("sides", [(10, 8), (8, 6)])
def test_sides_that_cannot_be_halved(sides):
    message = f"{sides[0]}x{sides[1]} can't be halved 2 times: .* multiples of 4"
    with pytest.raises(InputError, match=message):
        DCGANGenerator((*sides, 1), channels=(8, 4)).init(RNG, jnp.ones((1, 4)))
    with pytest.raises(InputError, match=message):
        DCGANDiscriminator(channels=(8, 4)).init(RNG, jnp.ones((1, *sides, 1)))
