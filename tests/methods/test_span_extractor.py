"""The extractor of spans: its values, what an answer can be, that it learns, its baselines."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.data.examples import InMemory
from research.data.labelled_texts import SpanSet
from research.errors import InputError
from research.methods.span_extractor import SpanExtractor, agreement, best_spans
from research.networks.transformer import Transformer
from research.training.optimizers import optimizer
from tests.methods.sentences import TOKENIZER

A, B, C = TOKENIZER.encode("abc")
END, LENGTH = TOKENIZER.end, 10


def extractor(**options):
    network = Transformer(
        vocabulary=TOKENIZER.size,
        length=LENGTH,
        width=16,
        layers=1,
        heads=2,
        **dict(causal=False, norm_first=False, embedding_norm=True, types=2),
    )
    made = optimizer(learning_rate=1e-2, total_steps=1)
    return SpanExtractor(network=network, optimizer=made, tokenizer=TOKENIZER, **options)


def batch_of(size=32, seed=0):
    """Asked "a" the answer is that letter of the text, asked "b" it is "bc"; 4 to 7 letters."""
    rng = np.random.default_rng(seed)
    rows = {name: np.zeros((size, LENGTH), np.int32) for name in ("tokens", "segments", "types")}
    spans = np.zeros((size, 2), np.int32)
    for i in range(size):
        others = [int(token) for token in rng.integers(C + 1, TOKENIZER.size, rng.integers(1, 5))]
        parts = [[A], [B, C], *([other] for other in others)]
        text = list(itertools.chain(*(parts[j] for j in rng.permutation(len(parts)))))
        asked, answer = (A, [A]) if rng.integers(2) else (B, [B, C])
        row = [asked, END, *text, END]
        rows["tokens"][i, : len(row)] = row
        rows["segments"][i, : len(row)] = 1
        rows["types"][i, 2 : len(row)] = 1
        first = 2 + text.index(asked)
        spans[i] = first, first + len(answer) - 1
    rows |= {"first": spans[:, 0], "last": spans[:, 1]}
    return {name: jnp.asarray(array) for name, array in rows.items()}


@pytest.fixture(scope="module")
def started():
    """Weights so large that every token is heard, a batch, and its metrics and found spans."""
    method, batch = extractor(), batch_of(64)
    state = jax.jit(method.init)(jax.random.key(0), batch)
    state = dataclasses.replace(state, params=jax.tree.map(lambda x: 8 * x, state.params))
    metrics = jax.jit(method.evaluate)(state, batch, jax.random.key(0))
    spans = np.stack(jax.jit(method.spans)(state.params["model"], batch), axis=1)
    return method, state, batch, metrics, spans


def test_the_loss_is_the_mean_of_two_cross_entropies_over_the_texts_tokens(started):
    method, state, batch, metrics, _ = started
    params = state.params["model"]
    for row in (0, 1):
        # Without what fills it up; the text stands between the question and the last token.
        size = int(batch["segments"][row].sum())
        tokens, types = (batch[name][row : row + 1, :size] for name in ("tokens", "types"))
        hidden = jax.jit(method.network.apply)({"params": params["encoder"]}, tokens, types=types)
        logits = np.asarray(hidden)[0, 2:-1] @ np.asarray(params["head"]["kernel"])
        chances = np.exp(logits) / np.exp(logits).sum(axis=0)
        first, last = int(batch["first"][row]) - 2, int(batch["last"][row]) - 2
        nats = -np.log(chances[first, 0]) / 2 - np.log(chances[last, 1]) / 2
        assert metrics["loss"][row] == pytest.approx(nats, rel=1e-4)


def test_no_token_but_the_texts_own_is_an_answer(started):
    method, state, batch, _, spans = started
    logits = jax.jit(method.logits)(state.params["model"], batch)
    for row, size in enumerate(np.asarray(batch["segments"]).sum(axis=1)):
        text = np.arange(2, size - 1)
        for each in logits:
            np.testing.assert_array_equal(np.flatnonzero(np.isfinite(each[row])), text)
        assert np.isin(spans[row], text).all()


@pytest.mark.parametrize("longest", [1, 3, 8])
def test_the_best_span_is_the_best_of_all(longest):
    rng = np.random.default_rng(0)
    start, end = rng.normal(size=(2, 50, 8)).astype(np.float32)
    start[:, :3], end[:, :3] = -np.inf, -np.inf
    found = np.stack(best_spans(jnp.asarray(start), jnp.asarray(end), longest=longest), axis=1)
    for row in range(50):
        pairs = [(i, j) for i in range(8) for j in range(i, 8) if j - i < longest]
        best = max(pairs, key=lambda pair: start[row, pair[0]] + end[row, pair[1]])
        assert tuple(found[row]) == best


def test_exact_match_and_f1_by_hand():
    # first, last of what was found and what is right -> exact match, F1
    cases = {
        (2, 4, 2, 4): (1, 1),
        (2, 4, 3, 4): (0, 0.8),  # precision 2/3, recall 1
        (3, 3, 2, 5): (0, 0.4),  # precision 1, recall 1/4
        (2, 4, 4, 5): (0, 0.4),  # precision 1/3, recall 1/2
        (2, 3, 4, 5): (0, 0),
        (6, 6, 1, 2): (0, 0),
    }
    for spans, (exact, f1) in cases.items():
        found = agreement(*(jnp.array([place]) for place in spans))
        assert found["exact_match"][0] == exact
        assert found["f1"][0] == pytest.approx(f1)


def test_learns_to_find_what_is_asked_for():
    method, batches = extractor(), [batch_of(64, seed) for seed in range(8)]
    state, step = jax.jit(method.init)(jax.random.key(0), batches[0]), jax.jit(method.step)
    for index in range(120):
        state, _ = step(state, batches[index % 8], jax.random.key(index))
    found = jax.jit(method.evaluate)(state, batch_of(200, seed=100), jax.random.key(0))
    assert found["exact_match"].mean() > 0.95
    assert (found["f1"] >= found["exact_match"]).all()


def test_examples_are_shown_with_what_was_found_and_what_is_right(started):
    method, state, batch, metrics, spans = started
    texts = method.sample(state, jax.random.key(0), count=64, batch=batch)["texts"]
    right = metrics["exact_match"]
    assert 0 < right.sum() < 64
    for row, shown in enumerate(texts):
        question, text, answer = shown.split("\n")
        tokens = np.asarray(batch["tokens"][row])
        size = int(batch["segments"][row].sum())
        expected = TOKENIZER.decode(tokens[int(batch["first"][row]) : int(batch["last"][row]) + 1])
        assert question in ("a", "b")
        assert expected == {"a": "a", "b": "bc"}[question]
        assert text == TOKENIZER.decode(tokens[2 : size - 1])
        found = TOKENIZER.decode(tokens[spans[row, 0] : spans[row, 1] + 1])
        assert answer == found + (", right" if right[row] else f", but it is {expected}")


def test_trivial_answers_by_hand():
    d, e = C + 1, C + 2
    trained = rows([[A, END, d, d, e, A, END]], [(2, 2)])  # the question's tokens don't count
    # Texts of three tokens, rarest c, and of two, rarest a; then what fills up.
    tested = rows([[A, END, d, C, e, END, 0], [d, END, d, A, END, 0, 0]], [(2, 3), (3, 3)])
    found = extractor().trivial(trained, tested)
    assert found["loss"]["uniform"] == pytest.approx((np.log(3) + np.log(2)) / 2)
    assert found["exact_match"]["random_token"] == pytest.approx((0 + 1 / 2) / 2)
    assert found["exact_match"]["rarest_token"] == pytest.approx((0 + 1) / 2)
    assert found["f1"]["random_token"] == pytest.approx(((2 / 3 + 2 / 3 + 0) / 3 + 1 / 2) / 2)
    assert found["f1"]["rarest_token"] == pytest.approx((2 / 3 + 1) / 2)


def rows(tokens, spans):
    """Of questions of one token, each text ended by `END`."""
    arrays = {"tokens": np.array(tokens, np.int32)}
    arrays["segments"] = (arrays["tokens"] != 0).astype(np.int32)
    arrays["types"] = arrays["segments"] * (np.arange(len(tokens[0])) > 1).astype(np.int32)
    arrays["first"], arrays["last"] = np.array(spans, np.int32).T
    given = dict(name="rows", split="test", fingerprint="", tokenizer=TOKENIZER)
    return SpanSet(source=InMemory(arrays), length=len(tokens[0]), **given)


def test_what_cannot_be():
    with pytest.raises(InputError, match=r"method\.pretrained='minlm' is unknown; nearest: minilm"):
        extractor(pretrained="minlm")
    with pytest.raises(InputError, match=r"method\.longest=0 is too small: it is 1 or more"):
        extractor(longest=0)
