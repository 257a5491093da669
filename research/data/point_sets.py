"""Point sets: draws of the mixtures in the plane that adversarial papers measure collapse on."""

import dataclasses
from typing import Any

import numpy as np

from research.data.examples import Dataset, InMemory, check_split, content_sha256
from research.data.mixtures import MIXTURES, Mixture

COUNTS = {"train": 100_000, "test": 10_000}


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PointSet(Dataset):
    """Points `point`, float32 (D,), drawn of a `mixture`."""

    mixture: Mixture

    def traits(self) -> dict[str, Any]:
        return {"dim": self.mixture.centres.shape[-1], "mixture": self.mixture}


def load(name: str, split: str) -> PointSet:
    """100,000 training or 10,000 test points of the mixture, the same at every call.

    Raises:
      InputError: there is no such split.
    """
    check_split(name, split, COUNTS)
    seed = list(COUNTS).index(split)
    arrays = {"point": MIXTURES[name].draw(COUNTS[split], seed=seed).astype(np.float32)}
    return PointSet(
        name=name,
        split=split,
        fingerprint=content_sha256(arrays),
        source=InMemory(arrays),
        mixture=MIXTURES[name],
    )
