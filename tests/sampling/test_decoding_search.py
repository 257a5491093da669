"""Beam search against brute force and a plain beam, contrastive search against its equation."""

import itertools

import jax
import numpy as np
import pytest

from research.sampling.decoding import generate
from tests.sampling.language_models import (
    ORDER_2,
    RECURRENT,
    V,
    log_prob,
    logits_after,
    parameters,
    softmax,
)

PARAMS = parameters(3)
RNG = jax.random.key(0)
PROMPTS = [[2], [0, 4], [1, 1, 3], [4, 0, 4, 2]]
END = 1
COUNT = 4


def penalty(length, alpha):
    return ((5 + length) / 6) ** alpha


def brute_force(prompt, alpha):
    """The text of highest score of all: ended by END, or of COUNT tokens."""
    texts = []
    for length in range(1, COUNT + 1):
        for tokens in itertools.product(range(V), repeat=length):
            if END not in tokens[:-1] and (tokens[-1] == END or length == COUNT):
                texts.append(tokens)
    return max(
        texts, key=lambda text: sum(log_prob(PARAMS, prompt, text)) / penalty(len(text), alpha)
    )


def search(alpha, beams, *, prompts=PROMPTS, decoder=ORDER_2, new_tokens=COUNT, end=END):
    return generate(
        decoder,
        PARAMS,
        prompts,
        RNG,
        new_tokens=new_tokens,
        strategy="beam",
        end=end,
        beams=beams,
        length_penalty=alpha,
    )


def texts_of(found):
    return [
        tuple(row[:n].tolist()) for row, n in zip(found.tokens_BxN, found.lengths_B, strict=True)
    ]


@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0])
def test_a_wide_beam_is_brute_force(alpha):
    """As many beams as there are beginnings that may go on: (V - 1)^(COUNT - 1)."""
    found = search(alpha, (V - 1) ** (COUNT - 1))
    exact = [brute_force(prompt, alpha) for prompt in PROMPTS]
    assert texts_of(found) == exact
    for prompt, text, log_probs in zip(PROMPTS, exact, found.log_probs_BxN, strict=True):
        np.testing.assert_allclose(
            log_probs[: len(text)], log_prob(PARAMS, prompt, text), atol=1e-5
        )
        np.testing.assert_array_equal(log_probs[len(text) :], 0)


def plain_beam(prompt, alpha, beams, count):
    """The best text that the beams meet, with no way to stop early."""
    alive, best = [((), 0.0)], ((), -np.inf)
    for length in range(1, count + 1):
        longer = []
        for text, total in alive:
            row = np.log(softmax(logits_after(PARAMS, [*prompt, *text])))
            longer += [((*text, token), total + row[token]) for token in range(V)]
        alive = [one for one in longer if one[0][-1] != END]
        alive = sorted(alive, key=lambda one: -one[1])[:beams]
        done = [one for one in longer if one[0][-1] == END] + (alive if length == count else [])
        scored = [(text, total / penalty(length, alpha)) for text, total in done]
        best = max([best, *scored], key=lambda one: one[1])
    return best[0]


@pytest.mark.parametrize(("alpha", "beams"), [(0.6, 2), (1.5, 3)])
def test_a_narrow_beam_keeps_the_best_beginnings(alpha, beams):
    prompts = [list(prompt) for prompt in itertools.product(range(V), repeat=3)]
    found = search(alpha, beams, prompts=prompts, new_tokens=9)
    expected = [plain_beam(prompt, alpha, beams, 9) for prompt in prompts]
    assert texts_of(found) == expected
    assert len(set(map(len, expected))) > 3


def test_one_beam_without_an_end_is_greedy():
    found = search(0.6, 1, new_tokens=8, end=None)
    greedy = generate(ORDER_2, PARAMS, PROMPTS, RNG, new_tokens=8, strategy="greedy")
    for mine, theirs in zip(found, greedy, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


def test_a_model_that_cannot_rewind_finds_the_same_texts():
    """Its whole state goes along with the beginnings that are kept."""
    prompts = [list(prompt) for prompt in itertools.product(range(V), repeat=3)]
    found, expected = (
        search(0.6, 3, prompts=prompts, decoder=decoder, new_tokens=9)
        for decoder in (RECURRENT, ORDER_2)
    )
    assert texts_of(found) == texts_of(expected)
    np.testing.assert_allclose(found.log_probs_BxN, expected.log_probs_BxN, atol=1e-5)


def contrastive_text(prompt, count, top_k, alpha):
    """Equation 5, plainly."""
    hidden_of = np.asarray(PARAMS["hidden"], np.float64)

    def direction(text, i):
        hidden = hidden_of[text[i - 1] if i else V, text[i]]
        return hidden / np.linalg.norm(hidden)

    text = list(prompt)
    for _ in range(count):
        probs = softmax(logits_after(PARAMS, text))
        before = np.array([direction(text, i) for i in range(len(text))])

        def score(token, probs=probs, before=before):
            own = direction([*text, token], len(text))
            return (1 - alpha) * probs[token] - alpha * np.max(before @ own)

        text.append(max(np.argsort(-probs)[:top_k], key=score))
    return text[len(prompt) :]


def contrast(alpha, top_k=3, decoder=ORDER_2, **settings):
    return generate(
        decoder,
        PARAMS,
        PROMPTS,
        RNG,
        new_tokens=10,
        strategy="contrastive",
        top_k=top_k,
        alpha=alpha,
        **settings,
    )


@pytest.mark.parametrize("alpha", [0.4, 0.7])
def test_contrastive_search_is_its_equation(alpha):
    found = contrast(alpha)
    assert not np.array_equal(found.tokens_BxN, contrast(0.0).tokens_BxN)
    for prompt, tokens, log_probs in zip(
        PROMPTS, found.tokens_BxN, found.log_probs_BxN, strict=True
    ):
        assert tokens.tolist() == contrastive_text(prompt, 10, 3, alpha)
        np.testing.assert_allclose(log_probs, log_prob(PARAMS, prompt, tokens), atol=1e-5)


def test_contrastive_search_without_its_penalty_is_greedy():
    greedy = generate(ORDER_2, PARAMS, PROMPTS, RNG, new_tokens=10, strategy="greedy", end=END)
    for mine, theirs in zip(contrast(0.0, end=END), greedy, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
