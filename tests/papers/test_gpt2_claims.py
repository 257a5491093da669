"""GPT-2's claims: merges by hand, and what is not GPT-2's fails."""

import pytest

from papers.gpt2 import claims as paper

ALL = {claim.id.split(".")[1]: claim for claim in paper.CLAIMS}
RANKS = {("a", "b"): 0, ("b", "c"): 1, ("ab", "c"): 2, ("c", "c"): 3}


@pytest.mark.parametrize(
    ("letters", "tokens"),
    [
        ("abc", ["abc"]),
        ("bc", ["bc"]),
        ("bcc", ["bc", "c"]),
        ("ccc", ["cc", "c"]),
        ("abab", ["ab", "ab"]),
        ("", []),
    ],
)
def test_merges_by_hand(letters, tokens):
    assert paper.merged(list(letters), RANKS) == tokens


def test_the_longest_tokens_from_the_left():
    vocab = {token: i for i, token in enumerate(["a", "b", "c", "ab", "abc", "cc"])}
    assert paper.longest(list("abcc"), vocab) == ["abc", "c"]
    assert paper.longest(list("ccc"), vocab) == ["cc", "c"]


def test_every_byte_has_a_letter_of_its_own():
    letters = [paper.letters_of(chr(code))[0] for code in range(128)]
    assert letters[ord("a")] == "a" and letters[ord(" ")] == "Ġ" and letters[ord("\n")] == "Ċ"
    assert len(set(letters)) == 128 and paper.letters_of("é") == ["Ã", "©"]


@pytest.fixture
def small(monkeypatch):
    for name, value in {"WIDTH": 64, "TOKENS": 16, "DEEP": 12}.items():
        monkeypatch.setattr(paper, name, value)


def test_the_variance_a_layer_adds(small, monkeypatch):
    """Scaled by 1/sqrt(2 layers) each depth adds the same; else 6 times the layers, 6 times."""
    measured = paper.measure_residual(0)
    assert measured["growth"] == pytest.approx(1, abs=0.25)
    assert measured["growth_unscaled"] == pytest.approx(6 * measured["growth"], rel=0.35)
    monkeypatch.setattr(paper, "to_stream", lambda path: False)
    assert not ALL["residual_scale"].rules[1]([paper.measure_residual(0)]).holds


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("byte_pairs", {"not_read_back": 1.0}),
        ("byte_pairs", {"merges_wrong": 0.001}),
        ("byte_pairs", {"longest_first_wrong": 0.0}),
        ("residual_scale", {"growth": 1.3}),
    ],
)
def test_another_finding_fails(name, changed):
    right = {"not_read_back": 0, "merges_wrong": 0, "longest_first_wrong": 0.4}
    right |= {"unknown_to_letters": 1, "growth": 1.05, "growth_unscaled": 13}
    assert all(rule([right]).holds for rule in ALL[name].rules)
    assert not all(rule([right | changed]).holds for rule in ALL[name].rules)
