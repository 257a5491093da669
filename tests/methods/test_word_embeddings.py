"""Skip-gram and GloVe: their losses against sums by hand, their noise, and what they are shown."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

from research.data.examples import InMemory
from research.data.tokenizers import train
from research.data.word_contexts import WordSet
from research.errors import InputError
from research.methods.word_embeddings import GloVe, SkipGram
from research.networks.recurrent import Recurrent
from research.networks.word_vectors import WordVectors

TOKENIZER = train("word", ["sun sun sun sun moon moon moon star star sky"], None)
SPECIAL = TOKENIZER.size - 4
COUNTS = np.array([0] * SPECIAL + [4, 3, 2, 1])
V = len(COUNTS)


def made(kind, network=None, **given):
    return kind(
        network=network or WordVectors(vocabulary=V, width=3, bias=kind.biased),
        optimizer=optax.adam(0.1),
        tokenizer=TOKENIZER,
        counts=COUNTS,
        **given,
    )


def filled(method, seed=0):
    params = method.init_params(jax.random.key(0), {})["model"]
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), jnp.float32), params)


def word_set(word, context, count=None):
    arrays = {"word": np.asarray(word, np.int32), "context": np.asarray(context, np.int32)}
    if count is not None:
        arrays["count"] = np.asarray(count, np.float32)
    source = InMemory(arrays)
    given = dict(name="made", split="train", fingerprint="", source=source)
    return WordSet(**given, tokenizer=TOKENIZER, counts=COUNTS)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_noise_is_the_shares_power():
    method = made(SkipGram, noise_power=0.75)
    expected = COUNTS**0.75 / np.sum(COUNTS**0.75)
    np.testing.assert_allclose(method.noise, expected)
    drawn = np.asarray(method.draw_noise(jax.random.key(1), (40_000,)))
    observed = np.bincount(drawn, minlength=V)
    assert observed[:SPECIAL].sum() == 0 and len(observed) == V
    assert scipy.stats.chisquare(observed[SPECIAL:], 40_000 * expected[SPECIAL:]).pvalue > 1e-4


@pytest.mark.parametrize("negatives", [1, 4])
def test_skip_gram_is_equation_4(negatives):
    """The mean over many draws is -log s(w.c) - k E log s(-w.n)."""
    method = made(SkipGram, negatives=negatives)
    params = filled(method)
    words, contexts = np.asarray(params["words"]), np.asarray(params["contexts"])
    pair = {"word": jnp.full(20_000, SPECIAL), "context": jnp.full(20_000, SPECIAL + 2)}
    losses = method.per_example(params, pair, jax.random.key(0))
    scores = contexts @ words[SPECIAL]
    expected = -np.log(sigmoid(scores[SPECIAL + 2]))
    expected -= negatives * np.sum(method.noise * np.log(sigmoid(-scores)))
    error = 4 * float(losses.std()) / np.sqrt(20_000)
    assert float(losses.mean()) == pytest.approx(expected, abs=error)


def test_glove_is_equation_8():
    method = made(GloVe, cutoff=10.0)
    params = filled(method)
    batch = {"word": jnp.array([4, 5]), "context": jnp.array([6, 7]), "count": jnp.array([2.0, 99])}
    found = method.per_example(params, batch, jax.random.key(0))
    p = jax.tree.map(np.asarray, params)
    for i, weight in enumerate([0.2**0.75, 1.0]):
        w, c = int(batch["word"][i]), int(batch["context"][i])
        score = p["words"][w] @ p["contexts"][c] + p["word_bias"][w] + p["context_bias"][c]
        expected = weight * (score - np.log(float(batch["count"][i]))) ** 2
        assert float(found[i]) == pytest.approx(expected, rel=1e-4)
    np.testing.assert_array_equal(method.vectors(params), p["words"] + p["contexts"])


def test_trivial_skip_gram_is_its_loss_of_scores_by_frequency():
    """Where contexts are independent of words, no scores are better."""
    method = made(SkipGram, negatives=2)
    context = np.repeat(np.arange(SPECIAL, V), [4, 3, 2, 1])
    data = word_set(np.full(10, SPECIAL), context)
    trivial = method.trivial(data, data)["loss"]["frequency"]
    share = COUNTS / 10

    def loss(scores):
        return np.sum(
            share * -np.log(sigmoid(scores)) - 2 * method.noise * np.log(sigmoid(-scores))
        )

    best = np.log(np.maximum(share, 1e-30) / (2 * np.maximum(method.noise, 1e-30)))
    best[:SPECIAL] = -50
    assert trivial == pytest.approx(loss(best), rel=1e-4)
    assert all(trivial < loss(best + shift) for shift in (-0.1, 0.1))


def test_trivial_glove_is_independence():
    method = made(GloVe)
    word, context = np.repeat([4, 5], 2), np.tile([6, 7], 2)
    independent = word_set([*word, *context], [*context, *word], [1, 2, 2, 4, 1, 2, 2, 4])
    totals = np.array([3, 6, 3, 6])  # of the words 4 to 7; all are 18
    expected = np.log(np.array([1, 2, 2, 4]) * 18 / (totals[[0, 0, 1, 1]] * totals[[2, 3, 2, 3]]))
    weight = np.minimum(np.array([1, 2, 2, 4]) / 100, 1) ** 0.75
    found = method.trivial(independent, independent)["loss"]["independent"]
    assert found == pytest.approx(np.mean(weight * expected**2), rel=1e-4)


def test_words_are_shown_with_their_nearest():
    method = made(SkipGram)
    state = method.init(jax.random.key(0), {})
    vectors = np.zeros((V, 3), np.float32)
    sun, moon, star, sky = range(SPECIAL, V)
    vectors[[sun, moon, star, sky]] = [[1, 0, 0], [0.9, 0.1, 0], [0.5, 0.9, 0], [0, 0, 1]]
    state.params["model"]["words"] = jnp.asarray(vectors)
    show = {"count": 3, "neighbours": 2}
    texts = method.sample(state, jax.random.key(0), words="Sun sky", **show)["texts"]
    assert texts[0] == "sun: moon 0.99, star 0.49" and texts[2] == texts[0]
    for nothing in ("", " "):
        drawn = method.sample(state, jax.random.key(0), words=nothing, **show)["texts"]
        assert all(text.split(":")[0] in {"sun", "moon", "star", "sky"} for text in drawn)
    with pytest.raises(InputError, match="no token for 'mars'"):
        method.sample(state, jax.random.key(0), words="mars", **show)
    with pytest.raises(InputError, match="'sun!' is 2 tokens"):
        made_up = train("word", ["sun !"], None)
        other = made(SkipGram)
        other.tokenizer = made_up
        other.known("sun!")
    with pytest.raises(InputError, match=r"noise_power is -0\.5; 0 is the least"):
        made(SkipGram, noise_power=-0.5)
    with pytest.raises(InputError, match=r"cutoff is 0\.0; it must be above 0"):
        made(GloVe, cutoff=0.0)


@pytest.mark.parametrize("kind", [SkipGram, GloVe])
def test_a_network_of_other_scores(kind):
    message = f"{kind.__name__} needs network.name='word_vectors' and network.bias={kind.biased}"
    for network in (WordVectors(vocabulary=V, bias=not kind.biased), Recurrent(vocabulary=V)):
        with pytest.raises(InputError, match=message):
            made(kind, network)


def test_skip_gram_of_counted_pairs():
    """Each would weigh the same, however often it is in the text."""
    pairs = word_set([4, 5], [6, 7], [2, 99]).arrays()
    with pytest.raises(InputError, match=r"data\.name must be word_pairs"):
        made(SkipGram).init(jax.random.key(0), pairs)
