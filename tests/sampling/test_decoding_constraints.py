"""Constrained decoding: always a match, and of all matches the locally renormalised one."""

import itertools
import re

import jax
import numpy as np
import pytest

from research.errors import InputError
from research.sampling.decoding import (
    first_texts,
    generate,
    grammar,
    regular_expression,
    stream,
    token_texts,
)
from tests.kernels.sampling_suite import check_frequencies, filtered
from tests.sampling.language_models import ORDER_2, V, logits_after, parameters

PARAMS = parameters(0)
RNG = jax.random.key(3)
PROMPT = [1, 2, 0]
TEXTS, END = ["a", "b", "ab", "", "ba"], 3
COUNT = 4


def run(constraint, count=COUNT, rows=400, strategy="temperature", **settings):
    return generate(
        ORDER_2,
        PARAMS,
        [PROMPT] * rows,
        RNG,
        new_tokens=count,
        strategy=strategy,
        end=END,
        constraint=constraint,
        **settings,
    )


def texts_of(found):
    return [
        "".join(TEXTS[token] for token in row[:n])
        for row, n in zip(found.tokens_BxN, found.lengths_B, strict=True)
    ]


def matches(pattern, count):
    """Every sequence that is a match: ended by END, or of all the tokens there may be."""
    found = []
    for length in range(1, count + 1):
        for tokens in itertools.product(range(V), repeat=length):
            ended = tokens[-1] == END
            if END not in tokens[:-1] and (ended or length == count):
                text = "".join(TEXTS[token] for token in tokens)
                if re.fullmatch(pattern, text):
                    found.append(tokens)
    return found


def renormalised(pattern, count, **settings):
    """Each match's probability: a token is drawn of those with which some match goes on."""
    exact = {}
    kept = matches(pattern, count)
    for tokens in kept:
        probability = 1.0
        for i, token in enumerate(tokens):
            goes_on = {other[i] for other in kept if other[:i] == tokens[:i] and len(other) > i}
            row = logits_after(PARAMS, [*PROMPT, *tokens[:i]])
            row[[other for other in range(V) if other not in goes_on]] = -np.inf
            probability *= filtered(row, **settings)[token]
        exact[tokens] = probability
    return exact


PATTERNS = ["(ab)*", "a+b?", "[ab]{3}", "(a|ba)*b", "b|aba|abab"]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_text_is_a_match(pattern):
    """However few tokens there are: none is drawn from which no match can be reached in time."""
    for count in (2, COUNT):
        if matches(pattern, count):
            found = run(regular_expression(pattern, TEXTS, END), count)
            assert all(re.fullmatch(pattern, text) for text in texts_of(found))


@pytest.mark.parametrize(
    ("pattern", "settings"), [("(ab)*", {}), ("(a|ba)*b", {}), ("[ab]{3}", dict(top_p=0.7))]
)
def test_the_distribution_is_renormalised_token_by_token(pattern, settings):
    strategy = "nucleus" if settings else "temperature"
    found = run(regular_expression(pattern, TEXTS, END), rows=6000, strategy=strategy, **settings)
    exact = renormalised(pattern, COUNT, **settings)
    number = {tokens: i for i, tokens in enumerate(exact)}
    drawn = [
        number[tuple(row[:n].tolist())]
        for row, n in zip(found.tokens_BxN, found.lengths_B, strict=True)
    ]
    assert len(exact) > 4
    check_frequencies(np.array(drawn), np.array(list(exact.values())))


def test_a_token_without_a_text_is_never_drawn():
    """Though it would leave every state where it is."""
    found = run(regular_expression("[ab]*", ["a", "b", "", "", "ba"], END))
    assert set(found.tokens_BxN[found.lengths_B == COUNT].ravel().tolist()) >= {0, 1, 4}
    assert 2 not in found.tokens_BxN


def test_greedy_and_streams_are_constrained():
    constraint = regular_expression("(ab)*ba", TEXTS, END)
    whole = run(constraint, rows=1, strategy="greedy")
    parts = stream(
        ORDER_2,
        PARAMS,
        [PROMPT],
        RNG,
        new_tokens=COUNT,
        strategy="greedy",
        end=END,
        block=2,
        constraint=constraint,
    )
    joined = np.concatenate([part[0] for part in parts])
    np.testing.assert_array_equal(joined, whole.tokens_BxN[0, : whole.lengths_B[0]])
    assert re.fullmatch("(ab)*ba", texts_of(whole)[0])


def test_a_grammar_of_tokens():
    """Tokens 0 and 1 in turn; then any of a set."""
    turns = run(grammar([{0: 1}, {1: 0}], {0}, V, END))
    for row, n in zip(turns.tokens_BxN, turns.lengths_B, strict=True):
        written = [token for token in row[:n].tolist() if token != END]
        assert written == [0, 1] * (len(written) // 2)
    assert len(set(turns.lengths_B.tolist())) > 1
    some = run(grammar([{0: 0, 4: 0}], {0}, V, END))
    assert set(some.tokens_BxN.ravel().tolist()) == {0, 4, END}


def test_gpt2s_vocabulary_has_few_classes():
    """50,257 tokens by 12 states and more would be 2.8 MB; and characters are of any alphabet."""
    rng = np.random.default_rng(0)
    alphabet = list("0123456789-abcdefghijklmnop é中")
    texts = ["".join(rng.choice(alphabet, size=rng.integers(1, 7))) for _ in range(50_256)]
    texts[:11] = list("0123456789-")
    made = regular_expression(r"\d{4}-\d{2}-\d{2}", [*texts, ""], end=50_256)
    assert sum(np.asarray(array).nbytes for array in made) < 250_000
    assert made.far_S[made.start] <= 10


def test_automata_of_like_size_share_a_program():
    one, other = (regular_expression(p, TEXTS, END) for p in ("(ab)+", "(ba)+"))
    assert [np.shape(a) for a in one] == [np.shape(b) for b in other]


def test_texts_of_tokens_as_they_follow_others():
    """A tokenizer that drops a text's first space, special tokens and halves of characters."""
    pieces = ["", "\ufffd", " the", "re", " "]

    def decode(ids):
        return "".join(pieces[i] for i in ids).removeprefix(" ")

    assert token_texts(decode, 5) == ["", "", " the", "re", " "]
    assert first_texts(decode, 5) == ["", "", "the", "re", ""]


@pytest.mark.parametrize("pattern", ["(b|a b)*", "a( b)+", "(a| b)?"])
def test_a_first_token_may_have_a_text_of_its_own(pattern):
    """Tokenizers of words write a blank before each word but the first."""
    first, after = ["a", "b", "", "", "c"], [" a", " b", "", "", " c"]
    found = run(regular_expression(pattern, after, END, first=first), strategy="temperature")
    rows = [row[:n].tolist() for row, n in zip(found.tokens_BxN, found.lengths_B, strict=True)]
    assert len(set(map(tuple, rows))) > 1
    for begin, *rest in rows:
        assert re.fullmatch(pattern, first[begin] + "".join(after[token] for token in rest))


BAD = {
    "the pattern '(a' can't be read": "(a",
    "the pattern 'c' allows no text of these tokens": "c",
    "the pattern 'a(b' can't be read": "a(b",
    "leave out ^ and $": "^ab$",
    "the pattern 'a$|b' is matched whole": "a$|b",
    "the pattern '(^a)b' is": "(^a)b",
    r"the pattern '[\\]]^a' is": r"[\]]^a",
    r"the pattern '\\\\$' is": r"\\$",
}


@pytest.mark.parametrize(("pattern", "text"), [(r"a[\^$]", "^"), ("a[^b]", "$"), (r"\[[$]", "$")])
def test_anchors_in_a_class_are_characters(pattern, text):
    found = run(regular_expression(pattern, ["a", "b", "[", "", text], END), rows=100)
    texts = {
        (row[:n].tolist()[1]) for row, n in zip(found.tokens_BxN, found.lengths_B, strict=True)
    }
    assert 4 in texts


def test_any_sign_may_be_escaped():
    """By hand or by `re.escape`, alone and in a class of characters."""
    for sign in (chr(code) for code in range(128) if not chr(code).isalnum()):
        for pattern in (rf"a\{sign}", rf"a[\{sign}]", re.escape("a" + sign)):
            made = regular_expression(pattern, ["a", "b", "", "", sign], END)
            after = made.next_SxK[made.start, made.class_V[0]]
            goes_on = [made.far_S[made.next_SxK[after, kind]] == 0 for kind in made.class_V]
            assert goes_on == [False, False, False, False, True], pattern


@pytest.mark.parametrize("message", BAD)
def test_a_bad_pattern_is_one_line(message):
    with pytest.raises(InputError) as error:
        regular_expression(BAD[message], TEXTS, END)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_bad_grammars_and_limits():
    with pytest.raises(InputError, match="the grammar allows no text of these tokens"):
        grammar([{0: 1}, {1: 1}], [], V, END)
    with pytest.raises(InputError, match="state 0 has token 9; the model's are below 5"):
        grammar([{9: 0}], {0}, V, END)
    with pytest.raises(InputError, match="state 0 leads to 2; states are below 1"):
        grammar([{1: 2}], {0}, V, END)
    with pytest.raises(InputError, match="state 1 has the end token 3; let it accept instead"):
        grammar([{1: 1}, {3: 0}], {0}, V, END)
    for state in (-1, 1):
        with pytest.raises(InputError, match=f"state {state} accepts; states are below 1"):
            grammar([{1: 0}], {0, state}, V, END)
    with pytest.raises(InputError, match="the grammar has end token -1; the model's are below 5"):
        grammar([{1: 0}], {0}, V, -1)
    constraint = regular_expression("[ab]{7}", TEXTS, END)
    with pytest.raises(InputError, match="shortest text has 4 tokens; new_tokens is 3"):
        run(constraint, 3)
    with pytest.raises(InputError, match="the constraint's end token is 3, not end=-1"):
        generate(ORDER_2, PARAMS, [PROMPT], RNG, new_tokens=9, constraint=constraint)
