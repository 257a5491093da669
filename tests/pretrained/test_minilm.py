"""MiniLM's package: its tokenizer, its weights, and the similarities of its sentences."""

import numpy as np
import pytest

from research.data import tokenizers
from research.errors import InputError
from research.pretrained import minilm, weights

SENTENCES = [
    "A man is playing a guitar.",
    "Someone strums a stringed instrument.",
    "The stock market fell sharply today.",
    "Shares dropped a lot on Wall Street.",
    "A cat sleeps on the sofa.",
    "The kitten is napping on the couch.",
    "Naïve café résumé — 東京 taxi fares, ½ price!",
]
# Of the same by transformers 5.24 and torch 2.13: hidden states' mean over the mask, of norm 1.
SIMILAR = {(0, 1): 0.580493, (2, 3): 0.550503, (4, 5): 0.741693}
OTHERS = {(0, 2): -0.054027, (4, 0): 0.008248, (2, 6): 0.049733}


@pytest.fixture(scope="module")
def similarities():
    embeddings = minilm.sentence_embeddings(SENTENCES)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
    return embeddings @ embeddings.T


def test_the_similarities_are_those_of_transformers(similarities):
    for (i, j), expected in (SIMILAR | OTHERS).items():
        assert similarities[i, j] == pytest.approx(expected, abs=1e-3)


def test_similar_sentences_are_closer_than_others(similarities):
    places = np.arange(6)
    assert np.all(similarities[:6, :6][places, places ^ 1] > 0.5)
    apart = places[:, None] // 2 != places // 2
    assert np.max(similarities[:6, :6][apart]) < 0.2


def test_the_tokenizer_is_berts():
    made = tokenizers.minilm()
    assert (made.size, made.pad, made.start, made.end, made.mask) == (30522, 0, 101, 102, 103)
    # Neither cut nor filled up to 128 tokens, as the file has it.
    assert made.encode("Hello, unaffable WORLD").tolist() == [7592, 1010, 14477, 20961, 3468, 2088]
    assert len(made.encode("a " * 400)) == 400
    with pytest.raises(InputError, match="no token for '🜏'"):
        made.encode("a 🜏")


def test_another_network():
    like = weights.shapes(minilm.network().clone(layers=5))
    with pytest.raises(InputError, match=r"extra encoder\.layer\.5\.attention\.output\.LayerNorm"):
        minilm.params(like)
