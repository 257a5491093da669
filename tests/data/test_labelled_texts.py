"""Labelled texts: splits that share nothing, spans that are the answer's tokens, bad input."""

import numpy as np
import pytest
import tokenizers as library

from research.data import labelled_texts, wordnet
from research.data.labelled_texts import Classes, Example
from research.errors import InputError

FIELDS = ("group", "texts")
SIZES = {"bpe": dict(vocabulary_size=300), "char": {}}
WORDS = [f"word{number}" for number in range(60)]


def sentences():
    """The word that a number stands for, at the place of the number modulo 3; two a word."""
    found = []
    for number, word in enumerate(WORDS):
        for other in ("a", "b"):
            before = "x " * (number % 3)
            text = f"{before}{word} {other}"
            span = (len(before), len(before) + len(word))
            found.append(Example(word, (f"number {number}", text), span=span))
    return found


def kinds():
    """A text that two groups share, beside texts of their own."""
    own = [Example(word, (f"of {word}",), label=len(word) % 2) for word in WORDS]
    return own + [Example(word, ("of all",), label=0) for word in WORDS]


@pytest.fixture(autouse=True)
def sets(monkeypatch):
    labelled_texts.chosen.cache_clear()
    monkeypatch.setitem(labelled_texts.SPANS, "words", sentences)
    monkeypatch.setitem(labelled_texts.CLASSES, "kinds", Classes(("even", "odd"), kinds))
    yield
    labelled_texts.chosen.cache_clear()


def test_a_group_is_in_one_split_and_no_text_in_both():
    splits = [labelled_texts.chosen("kinds", split) for split in ("train", "test")]
    groups, texts = ([{getattr(e, field) for e in split} for split in splits] for field in FIELDS)
    assert all(groups) and not groups[0] & groups[1]
    assert not texts[0] & texts[1]


@pytest.mark.parametrize("tokenizer", ["bpe", "char"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_first_and_last_are_the_answers_tokens(tokenizer, split):
    data = labelled_texts.load("words", split, tokenizer=tokenizer, length=40, **SIZES[tokenizer])
    rows, examples = data.arrays(), labelled_texts.chosen("words", split)
    assert len(rows["tokens"]) == len(examples) > 0
    for row, example in enumerate(examples):
        places = slice(rows["first"][row], rows["last"][row] + 1)
        text, (begin, end) = example.texts[-1], example.span
        found = data.tokenizer.decode(rows["tokens"][row, places])
        # A token of the byte-level kind has the blank before it.
        assert (found.strip() if tokenizer == "bpe" else found) == text[begin:end]
        assert np.all(rows["types"][row, places] == 1)


def test_an_answer_that_is_cut_off_is_left_out():
    """Of so many tokens the row holds the answer of some, whole or not at all."""
    short = labelled_texts.load("words", "train", tokenizer="char", length=18)
    rows, whole = short.arrays(), labelled_texts.chosen("words", "train")
    assert 0 < len(rows["tokens"]) < len(whole)
    for tokens, first, last in zip(rows["tokens"], rows["first"], rows["last"], strict=True):
        assert short.tokenizer.decode(tokens[first : last + 1]) in WORDS


def hyphens():
    """Answers at a word's start, in a word behind a hyphen, and at such a word's end."""
    texts = {
        "an eight sided die": "eight",
        "an eight-sided die": "sided",
        "it is one-sided": "sided",
    }
    return [
        Example(f"{word} {number}", ("of a die", text), span=(begin, begin + len(word)))
        for number in range(20)
        for text, word in texts.items()
        for begin in [text.index(word)]
    ]


def test_an_answer_that_is_no_whole_tokens_is_left_out(monkeypatch):
    monkeypatch.setitem(labelled_texts.SPANS, "words", hyphens)
    data = labelled_texts.load("words", "train", tokenizer="word", length=10)
    rows, examples = data.arrays(), labelled_texts.chosen("words", "train")
    assert len(rows["tokens"]) == sum("eight sided" in e.texts[1] for e in examples) > 0
    for tokens, first, last in zip(rows["tokens"], rows["first"], rows["last"], strict=True):
        assert data.tokenizer.decode(tokens[first : last + 1]) == "eight"


def test_an_answer_of_no_known_word_is_not_passed_over(tmp_path):
    """BERT's files call their sign for such words special, which is written as nothing."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = {name: i for i, name in enumerate([*names, "x", "a", "b", "number"])}
    made = library.Tokenizer(library.models.WordLevel(words, "[UNK]"))
    made.pre_tokenizer = library.pre_tokenizers.Whitespace()
    made.add_special_tokens(names)
    made.save(str(tmp_path / "words.json"))
    rows = labelled_texts.load(
        "words", "train", tokenizer=str(tmp_path / "words.json"), length=12
    ).arrays()
    places = np.arange(len(rows["first"]))
    np.testing.assert_array_equal(rows["first"], rows["last"])
    assert np.all(rows["tokens"][places, rows["first"]] == words["[UNK]"])
    # [CLS], "number", its number and [SEP], and so many x before the answer.
    assert set(rows["first"].tolist()) == {4, 5, 6}


def test_an_answer_is_the_longest_of_a_sets_words(monkeypatch):
    words = ("candy", "candy bar")
    synset = wordnet.Synset("noun", 0, words, "a sweet", ["she ate a candy bar"])
    monkeypatch.setattr(wordnet, "synsets", lambda: [synset])
    (example,) = labelled_texts.SPANS["gloss_words"]()
    assert example.texts[-1][slice(*example.span)] == "candy bar"


def test_what_cannot_be():
    with pytest.raises(InputError, match=r"no labelled set 'kinsd'; nearest: kinds"):
        labelled_texts.load("kinsd", "train", tokenizer="char", length=40)
    with pytest.raises(InputError, match=r"kinds has no split 'tset'; nearest: test"):
        labelled_texts.load("kinds", "tset", tokenizer="char", length=40)
    with pytest.raises(InputError, match=r"data\.length=4 is too small: a text needs 8 tokens"):
        labelled_texts.load("kinds", "train", tokenizer="char", length=4)
    with pytest.raises(
        InputError, match=r"data\.length=8 is too small: no answer of words is with"
    ):
        labelled_texts.load("words", "train", tokenizer="char", length=8)
