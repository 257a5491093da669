"""EfficientNet-Lite0: its parts against their definitions, its weights on photographs."""

import pathlib

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
from flax import linen as nn
from PIL import Image
from sklearn.datasets import load_sample_image

from research.extractors import extractor
from research.networks.efficientnet import EPSILON, Depthwise, EfficientNetLite0, fold


@pytest.mark.parametrize(("side", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
def test_depthwise_is_the_grouped_convolution(side, stride):
    x = jax.random.normal(jax.random.key(0), (2, 9, 12, 4))
    ours = Depthwise(side, stride)
    params = ours.init(jax.random.key(1), x)
    theirs = nn.Conv(4, (side, side), strides=stride, feature_group_count=4)
    expected = theirs.apply(params, x)
    np.testing.assert_allclose(ours.apply(params, x), expected, atol=1e-5)


def test_a_folded_norm_is_the_norm():
    rng = np.random.default_rng(0)
    tensors = {"c.weight": rng.normal(size=(6, 3, 1, 1)), "n.running_var": rng.uniform(1, 2, 6)}
    tensors |= {f"n.{name}": rng.normal(size=6) for name in ("weight", "bias", "running_mean")}
    x = rng.normal(size=(5, 3))
    folded = fold(tensors, "c", "n")
    h = x @ tensors["c.weight"][:, :, 0, 0].T - tensors["n.running_mean"]
    expected = h / np.sqrt(tensors["n.running_var"] + EPSILON) * tensors["n.weight"]
    expected += tensors["n.bias"]
    np.testing.assert_allclose(x @ folded["kernel"][0, 0] + folded["bias"], expected)


def photographs():
    sample_data = pathlib.Path(matplotlib.get_data_path()) / "sample_data"
    with Image.open(sample_data / "grace_hopper.jpg") as image:
        yield np.asarray(image.convert("RGB"))[:512, :512], 652  # military uniform
    yield load_sample_image("flower.jpg")[:, 110:537], 985  # daisy


def test_photographs_have_their_imagenet_class():
    network = extractor("efficientnet_lite0")
    template = jax.eval_shape(
        EfficientNetLite0().init, jax.random.key(0), jnp.zeros((1, 32, 32, 3))
    )
    shapes = jax.tree.map(jnp.shape, network.params)
    assert shapes == jax.tree.map(jnp.shape, template["params"])
    for image, label in photographs():
        images = image[None].astype(np.float32) / 127.5 - 1
        probabilities = network.probabilities(images)
        assert probabilities.argmax() == label and probabilities.max() > 0.1
        assert network.features(images).shape == (1, network.dim)
        assert network.size(images).endswith("->224x224")
