"""Tables of division modulo a prime, of which a part is shown (2201.02177)."""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Int32

from research.data.examples import Dataset, InMemory, check_split, content_sha256
from research.errors import InputError, check_least

SPLITS = ("train", "test")


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Equations(Dataset):
    """`inputs`, int32 (4,), spell "a / b ="; `target`, int32 (), is the number c with a = b c.

    Numbers are tokens 0..modulus - 1, "/" and "=" the two after them.
    """

    modulus: int

    def traits(self) -> dict[str, Any]:
        return {"vocabulary": self.modulus + 2, "length": 4}


def equations(modulus: int) -> tuple[Int32[np.ndarray, "N 4"], Int32[np.ndarray, "N"]]:
    """Every a / b = c modulo a prime, b not 0: N = modulus (modulus - 1) of them."""
    quotient, divisor = np.meshgrid(np.arange(modulus), np.arange(1, modulus))
    divided = quotient * divisor % modulus
    signs = (np.full_like(divisor, modulus), np.full_like(divisor, modulus + 1))
    rows = np.stack([divided, signs[0], divisor, signs[1]], axis=-1)
    return rows.reshape(-1, 4).astype(np.int32), quotient.ravel().astype(np.int32)


def load(
    name: str, split: str, *, modulus: int = 97, share: float = 0.5, draw: int = 0
) -> Equations:
    """A `share` of all equations at random for training, the others for the test.

    `draw` numbers the ways to choose them.

    Raises:
      InputError: there is no such split, the modulus is no prime, `draw` is negative, or a split
        would be empty.
    """
    check_split(name, split, SPLITS)
    if modulus < 2 or any(modulus % factor == 0 for factor in range(2, modulus)):
        raise InputError(f"data.modulus={modulus} is no prime: not every division has an answer")
    check_least(0, **{"data.draw": draw})
    inputs, target = equations(modulus)
    order = np.random.default_rng(draw).permutation(len(target))
    cut = round(share * len(target))
    if not 0 < cut < len(target):
        raise InputError(f"data.share={share} leaves a split empty; it lies between 0 and 1")
    chosen = order[:cut] if split == "train" else order[cut:]
    arrays = {"inputs": inputs[chosen], "target": target[chosen]}
    return Equations(
        name=name,
        split=split,
        fingerprint=content_sha256(arrays),
        source=InMemory(arrays),
        modulus=modulus,
    )
