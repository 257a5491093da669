"""Speculative decoding has the target's distribution, whatever drafts for it."""

import jax
import numpy as np
import pytest

from research.errors import InputError
from research.sampling.decoding import generate, stream
from research.sampling.decoding.generation import begin
from research.sampling.decoding.strategies import Task
from tests.kernels.sampling_suite import check_frequencies, filtered
from tests.sampling.language_models import (
    ORDER_2,
    V,
    index,
    log_prob,
    logits_after,
    parameters,
    sequences,
    softmax,
)

TARGET, DRAFT = parameters(0), parameters(7, scale=0.4)
RNG = jax.random.key(2)
PROMPT = [3, 1, 4]
DRAWS = 6000


def run(prompts, new_tokens, *, draft=DRAFT, rng=RNG, **settings):
    return generate(
        ORDER_2,
        TARGET,
        prompts,
        rng,
        new_tokens=new_tokens,
        strategy="speculative",
        draft=ORDER_2,
        draft_params=draft,
        **settings,
    )


@pytest.mark.parametrize(
    ("draft_tokens", "settings"),
    [
        (1, {}),
        (2, dict(temperature=0.8, top_p=0.9)),
        (4, dict(temperature=1.5, top_k=4, min_p=0.02)),
    ],
)
def test_the_distribution_is_the_targets(draft_tokens, settings):
    """Of three tokens, written in one to three rounds; the draft's own would fail."""
    found = run([PROMPT] * DRAWS, 3, draft_tokens=draft_tokens, **settings)
    exact, drafts = (
        sequences(
            lambda text, _, params=params: filtered(logits_after(params, text), **settings),
            PROMPT,
            3,
        ).ravel()
        for params in (TARGET, DRAFT)
    )
    assert 0.5 * np.abs(exact - drafts).sum() > 0.2
    check_frequencies(index(found.tokens_BxN), exact)
    of_model = [log_prob(TARGET, PROMPT, tokens) for tokens in found.tokens_BxN[:50]]
    np.testing.assert_allclose(found.log_probs_BxN[:50], of_model, atol=1e-5)


def test_later_rounds_have_it_too():
    """Tokens 8 and 9 after the two before them, in all rounds' rows."""
    found = run([PROMPT] * DRAWS, 10, draft_tokens=1)
    tokens = found.tokens_BxN[:, 6:]
    exact = np.zeros((V,) * 4)
    for first in range(V):
        for second in range(V):
            start = np.mean((tokens[:, 0] == first) & (tokens[:, 1] == second))
            after = sequences(
                lambda text, _: filtered(logits_after(TARGET, text)), [first, second], 2
            )
            exact[first, second] = start * after
    check_frequencies(index(tokens), exact.ravel())


PROMPTS = [[2], [0, 4], [1, 1, 3], [4] * 16]
SHORT = [prompt[:4] for prompt in PROMPTS]


def test_greedy_is_the_targets_greedy():
    """In ragged rounds: each row accepts as many as it does."""
    greedy = generate(ORDER_2, TARGET, PROMPTS, RNG, new_tokens=20, strategy="greedy", end=2)
    found = run(PROMPTS, 20, temperature=0.0, end=2)
    for mine, theirs in zip(found, greedy, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


def plain_rounds(draft, prompt, tokens, draft_tokens):
    """In how many rounds greedy decoding writes these tokens of the target's."""
    rounds, done = 0, 0
    while done < len(tokens):
        text = [*prompt, *tokens[:done]]
        accepted = 0
        while accepted < draft_tokens and done + accepted < len(tokens):
            proposed = int(np.argmax(logits_after(draft, text)))
            if proposed != tokens[done + accepted]:
                break
            text.append(proposed)
            accepted += 1
        rounds, done = rounds + 1, done + accepted + 1
    return rounds


def test_the_draft_proposes_what_follows_the_text():
    """Refused proposals are forgotten: else more would be refused, and the text still right."""
    near = {**TARGET, "head": TARGET["head"] + 0.5 * DRAFT["head"]}
    settings = dict(temperature=0.0, draft=ORDER_2, draft_params=near)
    session = begin(Task(ORDER_2, TARGET, PROMPTS, RNG, 20, -1), "speculative", settings)
    _, progress = session.advance(session.state, 20)
    texts = progress.text.tokens_BxC[:, :20].tolist()
    needed = [plain_rounds(near, *row, 4) for row in zip(PROMPTS, texts, strict=True)]
    assert 4 < progress.round == max(needed) < 15


def test_a_text_may_fill_the_context():
    """Near the limit a row drafts fewer: no token is read past it."""
    prompts = [[i] * 44 for i in range(4)]
    greedy = generate(ORDER_2, TARGET, prompts, RNG, new_tokens=20, strategy="greedy")
    found = run(prompts, 20, temperature=0.0)
    np.testing.assert_array_equal(found.tokens_BxN, greedy.tokens_BxN)


def rounds(draft, draft_tokens):
    """How many tokens each round of some rows writes, but for each row's last ones."""
    parts = stream(
        ORDER_2,
        TARGET,
        [PROMPT] * DRAWS,
        RNG,
        new_tokens=draft_tokens + 1,
        block=1,
        strategy="speculative",
        draft=ORDER_2,
        draft_params=draft,
        draft_tokens=draft_tokens,
    )
    return np.array([len(row) for row in next(parts)])


def test_as_many_are_accepted_as_the_distributions_overlap():
    """P(the first is) = sum min(p, q), theorem 3.5 of the paper; then q = p accepts all."""
    p, q = (filtered(logits_after(params, PROMPT)) for params in (TARGET, DRAFT))
    accepted = np.mean(rounds(DRAFT, 1) == 2)
    overlap = np.minimum(p, q).sum()
    assert accepted == pytest.approx(overlap, abs=4 * np.sqrt(overlap / DRAWS))
    assert np.all(rounds(TARGET, 1) == 2)


def test_a_row_does_not_depend_on_its_neighbours():
    one = run([[2], [0, 4], [1, 1, 3], [1]], 15, end=3)
    other = run([[4, 4, 4, 4, 4], [0, 4], [3], [3]], 15, end=3)
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_allclose(mine[1], theirs[1], atol=1e-6)


@pytest.mark.parametrize("block", [1, 4])
def test_a_stream_is_what_is_generated(block):
    whole = run(SHORT, 15, end=3)
    parts = stream(
        ORDER_2,
        TARGET,
        SHORT,
        RNG,
        new_tokens=15,
        end=3,
        block=block,
        strategy="speculative",
        draft=ORDER_2,
        draft_params=DRAFT,
    )
    joined = [np.concatenate(row) for row in zip(*parts, strict=True)]
    for mine, theirs, length in zip(joined, whole.tokens_BxN, whole.lengths_B, strict=True):
        np.testing.assert_array_equal(mine, theirs[:length])


def test_a_target_that_diverges_is_named_and_a_draft_that_does_is_not_believed():
    """Nothing that a draft without finite logits proposes stays: the text is the target's."""
    broken = jax.tree.map(lambda leaf: leaf * np.nan, TARGET)
    asked = dict(new_tokens=2, strategy="speculative", draft=ORDER_2)
    with pytest.raises(InputError, match="prompt 0: the model's logits are not finite"):
        generate(ORDER_2, broken, [PROMPT], RNG, draft_params=DRAFT, **asked)
    found = run([PROMPT] * DRAWS, 2, draft=broken)
    exact = sequences(lambda text, _: softmax(logits_after(TARGET, text)), PROMPT, 2)
    check_frequencies(index(found.tokens_BxN), exact.ravel())
