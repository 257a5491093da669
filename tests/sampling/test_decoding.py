"""Sampling from a model: exact distributions, rows, ends, streams and programs."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.sampling.decoding import generate, prompts, stream
from research.sampling.decoding.generation import begin
from research.sampling.decoding.prompts import bucket
from research.sampling.decoding.strategies import Task
from tests.kernels.sampling_suite import check_frequencies, filtered
from tests.sampling.language_models import (
    ORDER_2,
    V,
    counting,
    index,
    log_prob,
    logits_after,
    parameters,
    sequences,
    softmax,
)

PARAMS = parameters(0)
RNG = jax.random.key(1)
PROMPT = [3, 1, 4]
DRAWS = 6000
FILTERS = {
    "temperature": [dict(), dict(temperature=1.8)],
    "top_k": [dict(top_k=2), dict(top_k=3, temperature=0.7)],
    "nucleus": [dict(top_p=0.7), dict(top_p=0.9, temperature=1.4)],
    "min_p": [dict(min_p=0.2), dict(min_p=0.05, temperature=2.0)],
}
CASES = [(strategy, settings) for strategy, many in FILTERS.items() for settings in many]


def run(prompts, strategy, *, new_tokens=8, decoder=ORDER_2, params=PARAMS, rng=RNG, **settings):
    return generate(
        decoder, params, prompts, rng, new_tokens=new_tokens, strategy=strategy, **settings
    )


def drawn(strategy, count=2, **settings):
    """Many continuations of one prompt."""
    return run([PROMPT] * DRAWS, strategy, new_tokens=count, **settings)


@pytest.mark.parametrize(("strategy", "settings"), CASES)
def test_draws_have_the_filtered_distribution(strategy, settings):
    found = drawn(strategy, **settings)
    exact = sequences(lambda text, _: filtered(logits_after(PARAMS, text), **settings), PROMPT, 2)
    check_frequencies(index(found.tokens_BxN), exact.ravel())
    np.testing.assert_array_equal(found.lengths_B, 2)
    of_model = [log_prob(PARAMS, PROMPT, tokens) for tokens in found.tokens_BxN[:50]]
    np.testing.assert_allclose(found.log_probs_BxN[:50], of_model, atol=1e-5)


def penalised(row, text, penalty):
    seen = np.isin(np.arange(V), text)
    return np.where(seen, np.where(row > 0, row / penalty, row * penalty), row)


@pytest.mark.parametrize("settings", [dict(), dict(top_p=0.8)], ids=["plain", "nucleus"])
def test_a_repetition_penalty_is_on_the_tokens_of_prompt_and_text(settings):
    strategy = "nucleus" if settings else "temperature"
    found = drawn(strategy, repetition_penalty=1.7, **settings)
    exact = sequences(
        lambda text, _: filtered(penalised(logits_after(PARAMS, text), text, 1.7), **settings),
        PROMPT,
        2,
    )
    assert np.any(logits_after(PARAMS, PROMPT)[PROMPT] > 0)
    assert np.any(logits_after(PARAMS, PROMPT)[PROMPT] < 0)
    check_frequencies(index(found.tokens_BxN), exact.ravel())


def greedy_text(prompt, count, row_of):
    text = list(prompt)
    for _ in range(count):
        text.append(int(np.argmax(row_of(text))))
    return text[len(prompt) :]


PROMPTS = [[2], [0, 4], [1, 1, 3], [4] * 16]


def test_greedy_takes_the_likeliest_after_prompts_of_any_length():
    found = run(PROMPTS, "greedy")
    for prompt, tokens, log_probs in zip(
        PROMPTS, found.tokens_BxN, found.log_probs_BxN, strict=True
    ):
        assert tokens.tolist() == greedy_text(prompt, 8, lambda text: logits_after(PARAMS, text))
        np.testing.assert_allclose(log_probs, log_prob(PARAMS, prompt, tokens), atol=1e-5)


def test_no_penalty_is_on_the_end():
    """As an empty prompt is one, texts without a prompt would be longer than others."""
    end = PROMPT[0]
    found = drawn("temperature", count=1, repetition_penalty=3.0, end=end)
    exact = softmax(penalised(logits_after(PARAMS, PROMPT), PROMPT[1:], 3.0))
    check_frequencies(index(found.tokens_BxN), exact)


def test_greedy_with_a_penalty():
    found = run(PROMPTS, "greedy", repetition_penalty=3.0)
    for prompt, tokens in zip(PROMPTS, found.tokens_BxN, strict=True):
        expected = greedy_text(
            prompt, 8, lambda text: penalised(logits_after(PARAMS, text), text, 3.0)
        )
        assert tokens.tolist() == expected


NEGATIVE = [[1], [3, 3], [0, 2, 2, 1], [2]]


@pytest.mark.parametrize("guidance", [None, 0.0, 1.0, 4.0])
def test_guidance_combines_the_logits_after_both_prompts(guidance):
    """1 is the model after its prompt, 0 after the negative one; 1.5 without a scale."""
    scale = 1.5 if guidance is None else guidance
    found = run(PROMPTS, "greedy", negative_prompts=NEGATIVE, guidance=guidance)
    for prompt, negative, tokens in zip(PROMPTS, NEGATIVE, found.tokens_BxN, strict=True):

        def row_of(text, prompt=prompt, negative=negative):
            against = logits_after(PARAMS, [*negative, *text[len(prompt) :]])
            return against + scale * (logits_after(PARAMS, text) - against)

        assert tokens.tolist() == greedy_text(prompt, 8, row_of)


def test_a_row_does_not_depend_on_its_neighbours():
    one = run([[2], [0, 4], [1, 1, 3]], "nucleus", repetition_penalty=1.2, end=3)
    other = run([[4, 4, 4, 4, 4], [0, 4], [3]], "nucleus", repetition_penalty=1.2, end=3)
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_array_equal(mine[1], theirs[1])
    assert not np.array_equal(one.tokens_BxN[0], other.tokens_BxN[0])


def test_the_end_token_ends_a_row():
    free = run([PROMPT] * 40, "temperature", new_tokens=12)
    found = run([PROMPT] * 40, "temperature", new_tokens=12, end=2)
    assert len(set(found.lengths_B.tolist())) > 4
    for mine, length, theirs in zip(
        found.tokens_BxN, found.lengths_B, free.tokens_BxN, strict=True
    ):
        where = np.flatnonzero(theirs == 2)
        assert length == (where[0] + 1 if len(where) else 12)
        np.testing.assert_array_equal(mine[:length], theirs[:length])
        np.testing.assert_array_equal(mine[length:], 0)
    beyond = np.arange(12) >= found.lengths_B[:, None]
    np.testing.assert_array_equal(found.log_probs_BxN[beyond], 0)


def test_the_loop_stops_when_all_rows_have_ended():
    likeliest = greedy_text(PROMPT, 1, lambda text: logits_after(PARAMS, text))[0]
    task = Task(ORDER_2, PARAMS, [PROMPT] * 2, RNG, 40, likeliest)
    session = begin(task, "greedy", {})
    assert session.advance(session.state, 40)[1].step == 1


@pytest.mark.parametrize("block", [1, 3, 8, 50])
def test_a_stream_is_what_is_generated(block):
    whole = run(PROMPTS, "nucleus", new_tokens=11, end=2)
    parts = list(
        stream(ORDER_2, PARAMS, PROMPTS, RNG, new_tokens=11, end=2, block=block, top_p=0.95)
    )
    assert len(parts) == -(-whole.lengths_B.max() // block)
    for row, length in enumerate(whole.lengths_B):
        joined = np.concatenate([part[row] for part in parts])
        np.testing.assert_array_equal(joined, whole.tokens_BxN[row, :length])


def test_lengths_of_one_bucket_share_their_programs():
    traces = []
    decoder = counting(traces)
    run([[1, 2]], "nucleus", decoder=decoder, new_tokens=9)
    first = list(traces)
    assert first == [(1, 16), (1, 1)]
    run([[1] * 7], "nucleus", decoder=decoder, new_tokens=5, end=3, rng=jax.random.key(5))
    list(stream(decoder, PARAMS, [[4]], RNG, new_tokens=12, block=5))
    assert traces == first
    run([[1] * 17], "nucleus", decoder=decoder, new_tokens=5)
    assert traces == [*first, (1, 32), (1, 1)]


@pytest.mark.parametrize(
    ("settings", "sizes"),
    [({}, 2), ({"end": 2}, 1), ({"negative_prompts": [[3]] * len(PROMPTS)}, 2)],
    ids=["to the last", "all end early", "guided"],
)
def test_a_cache_that_grows_writes_the_same(monkeypatch, settings, sizes):
    """From 32 positions to 64, while it writes; not if all rows have ended."""
    whole = run(PROMPTS, "nucleus", new_tokens=40, **settings)
    monkeypatch.setattr(prompts, "UNGROWN", 16)
    traces = []
    decoder = counting(traces)
    found = run(PROMPTS, "nucleus", decoder=decoder, new_tokens=40, **settings)
    for name, array in whole._asdict().items():
        np.testing.assert_array_equal(getattr(found, name), array)
    assert len(traces) == 1 + sizes, "one program for the prompts, one for each capacity"
    parts = list(stream(decoder, PARAMS, PROMPTS, RNG, new_tokens=40, **settings))
    for row, length in enumerate(whole.lengths_B):
        joined = np.concatenate([part[row] for part in parts])
        np.testing.assert_array_equal(joined, whole.tokens_BxN[row, :length])


def test_what_a_cache_grows_through():
    assert prompts.capacities(16, 1024) == [128, 192, 288, 448, 672, 1024]
    assert prompts.capacities(300, 700) == [512, 700]
    assert prompts.capacities(16, 64) == [64]


def test_buckets_are_powers_of_two_within_the_context():
    assert [bucket(n, 1000) for n in (1, 16, 17, 32, 33, 600)] == [16, 16, 32, 32, 64, 1000]


def test_a_text_may_fill_the_context():
    found = run([[1] * 40], "greedy", new_tokens=24)
    assert found.tokens_BxN[0].tolist() == greedy_text(
        [1] * 40, 24, lambda text: logits_after(PARAMS, text)
    )


@pytest.mark.parametrize(
    ("strategy", "settings"),
    [
        ("nucleus", {}),
        ("nucleus", dict(negative_prompts=[[3]] * 4)),
        ("beam", dict(beams=3)),
        ("contrastive", {}),
        ("speculative", dict(draft=ORDER_2, draft_params=PARAMS)),
    ],
)
def test_what_lies_beyond_a_count_is_never_looked_at(strategy, settings):
    """Texts of many lengths: the first that end are extended by no token while others go on."""

    def extend(params, cache, tokens, counts):
        hidden, cache = ORDER_2.extend(params, cache, tokens, counts)
        is_beyond = np.arange(tokens.shape[1]) >= counts[:, None]
        return jnp.where(is_beyond[..., None], np.nan, hidden), cache

    found, plain = (
        run(PROMPTS, strategy, new_tokens=30, end=2, decoder=decoder, **settings)
        for decoder in (dataclasses.replace(ORDER_2, extend=extend), ORDER_2)
    )
    assert len(set(plain.lengths_B.tolist())) > 1
    for mine, theirs in zip(found, plain, strict=True):
        np.testing.assert_array_equal(mine, theirs)
