"""Sequential MNIST: a digit read pixel by pixel, and its class told after the last (1504.00941)."""

import numpy as np

from research.data import image_sets
from research.data.examples import InMemory, content_sha256
from research.data.sequence_tasks import SequenceTask

# Of MNIST's training pixels in 0..1, as the papers that read it so have them.
MEAN, DEVIATION = 0.1307, 0.3081


def load(name: str, split: str) -> SequenceTask:
    """MNIST's `train` or `test`: inputs (784, 1), row after row, of mean 0 and deviation 1.

    `target`, int32 (), is the digit.

    Raises:
      InputError: there is no such split.
    """
    arrays = image_sets.load("mnist", split).arrays()
    pixels = arrays["image"].reshape(len(arrays["image"]), -1, 1)
    # 256 levels, each made once: 60,000 images of float64 would be 376 MB.
    levels = (np.arange(256) / 255 - MEAN) / DEVIATION
    sequences = {"inputs": levels.astype(np.float32)[pixels], "target": arrays["label"]}
    return SequenceTask(
        name=name,
        split=split,
        fingerprint=content_sha256(sequences),
        source=InMemory(sequences),
        channels=1,
        outputs=10,
    )
