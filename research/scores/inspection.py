"""Pictures to look at before believing a score: nearest training images, and the latent space."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from research.data.image_sets import ImageSet
from research.data.pipelines import rows
from research.data.scaling import scaled
from research.evaluation import latents
from research.evaluation.neighbours import neighbour_images
from research.experiment import Experiment
from research.training.method import LatentVariable
from research.training.state import TrainState

SIDE = 10  # of every grid
TRAINING = 10_000  # the first training images, which are searched
MAPPED = 2000  # test images on the map, at most


def inspection(
    experiment: Experiment, state: TrainState, artefacts: Mapping[str, Any]
) -> dict[str, Any]:
    """Further artefacts of a model of images.

    `neighbour_images`: ten samples, each before its nine nearest in pixels of the first `TRAINING`
    training images. With a latent space also `interpolation_images`, `traversal_images` of the most
    active latents, and `map_images` of the test set's means, coloured by label.
    """
    train, test = experiment.train_data, experiment.test_data
    if not isinstance(train, ImageSet) or not isinstance(test, ImageSet):
        return {}
    found = {}
    if "images" in artefacts:
        samples = np.asarray(artefacts["images"])[:SIDE]
        training = scaled(first(train, TRAINING)["image"], train.levels)
        found["neighbour_images"] = neighbour_images(samples, training, k=SIDE - 1)
    if isinstance(experiment.method, LatentVariable):
        found |= latent_pictures(experiment.method, state, test)
    return found


def first(images: ImageSet, count: int) -> dict[str, np.ndarray]:
    """The first examples, `count` at most; no others are decoded."""
    return rows(images, range(min(count, len(images))))


def latent_pictures(method: LatentVariable, state: TrainState, test: ImageSet) -> dict[str, Any]:
    """Interpolations of test images, traversals around the prior's mean, and the map of means.

    One latent alone has no map.
    """
    encode, decode = (jax.jit(f) for f in (method.encode, method.decode))
    arrays = first(test, MAPPED)
    images = scaled(arrays["image"], test.levels)
    means = np.asarray(encode(state, images))
    in_pairs = images[: 2 * min(SIDE, len(images) // 2)]
    active = latents.most_active(means, SIDE)

    def decoded(z: Any) -> Any:
        return decode(state, z)

    found = {
        "interpolation_images": latents.interpolation(
            lambda images: encode(state, images), decoded, in_pairs[::2], in_pairs[1::2], steps=SIDE
        ),
        "traversal_images": latents.traversal(decoded, np.zeros_like(means[0]), active, steps=SIDE),
    }
    if means.shape[1] > 1:
        found["map_images"] = latents.map_picture(
            means, arrays["label"], num_classes=test.num_classes or 1
        )
    return found
