"""GloVe's published vectors: their words, and neighbours that its makers show."""

import numpy as np

from research.evaluation import word_vectors
from research.pretrained import glove


def test_the_nearest_words_to_frog():
    words, vectors = glove.table()
    assert vectors.shape == (400_000, 50) and words[:4] == ["the", ",", ".", "of"]
    frog = np.array([words.index("frog")])
    (nearest,), _ = word_vectors.neighbours(vectors, frog, 8)
    assert {"toad", "frogs"} & {words[place] for place in nearest}
