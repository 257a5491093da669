"""Words and their contexts: windows within documents, subsampling, and weighted counts."""

import pathlib

import numpy as np
import pytest

from research.data import datasets, encoding, word_contexts
from research.data.corpora import held_out
from research.data.word_contexts import Words, cooccurrences, keep_chances, pairs
from research.errors import InputError

# Two documents: 5 6 7 8 and 5 9.
WORDS = Words(np.array([5, 6, 7, 8, 5, 9]), np.array([0, 0, 0, 0, 1, 1]))
CORPUS = "a rose is a rose and a thorn is a thorn\n" * 100


def as_set(arrays):
    return sorted(zip(arrays["word"].tolist(), arrays["context"].tolist(), strict=True))


def test_a_word_meets_what_is_within_its_own_radius_in_its_document():
    found = pairs(WORDS, np.array([2, 1, 1, 1, 2, 1]))
    expected = [(5, 6), (5, 7), (6, 5), (6, 7), (7, 6), (7, 8), (8, 7), (5, 9), (9, 5)]
    assert as_set(found) == sorted(expected)


def test_counts_fall_with_the_distance_and_stay_in_a_document():
    found = cooccurrences(WORDS, window=3, vocabulary=10)
    table = np.zeros((10, 10))
    table[found["word"], found["context"]] = found["count"]
    expected = {(5, 6): 1, (5, 7): 1 / 2, (5, 8): 1 / 3, (6, 7): 1, (6, 8): 1 / 2, (7, 8): 1}
    for (word, context), count in (expected | {(5, 9): 1}).items():
        assert table[word, context] == table[context, word] == pytest.approx(count)
    assert np.count_nonzero(table) == 14


def test_frequent_words_are_dropped_as_the_paper_has_it():
    counts = np.array([900, 90, 10, 0])
    chances = keep_chances(counts, subsample=0.09)
    np.testing.assert_allclose(chances, [np.sqrt(0.1), 1, 1, 1])


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    monkeypatch.setenv("ATELIER_CACHE", str(tmp_path / "cache"))
    (tmp_path / "texts").mkdir()
    for number in range(12):
        text = CORPUS.title() + f"never{number} "
        (tmp_path / "texts" / f"{number}.txt").write_text(text)
    return str(tmp_path / "texts")


def load(kind, corpus, split="train", **options):
    return datasets.load(kind, split, corpus=corpus, vocabulary_size=11, **options)


def test_words_are_in_lower_case_and_unknown_ones_are_left_out(corpus):
    found = load("cooccurrences", corpus, window=1)
    spelt = [found.tokenizer.decode(np.array([word])) for word in np.flatnonzero(found.counts)]
    assert {"a", "rose", "is", "and", "thorn"} <= set(spelt) and len(spelt) == 7
    used = {found.tokenizer.decode(np.array([word])) for word in found.arrays()["word"]}
    assert used == set(spelt)


def test_radii_are_uniform(corpus):
    """Of words d apart a share (3 - d + 1) / 3 is met: 1, 2/3 and 1/3, and so 4 pairs a word."""
    found = load("word_pairs", corpus, window=3)
    assert len(found) / found.counts.sum() == pytest.approx(4, rel=0.02)


def test_subsampling_leaves_frequent_words_out_and_joins_their_neighbours(corpus):
    whole, thinned = (load("word_pairs", corpus, window=1, subsample=x) for x in (None, 1e-2))
    assert len(thinned) < len(whole) / 4
    words = thinned.arrays()["word"]
    assert len(words) and np.array_equal(
        words, load("word_pairs", corpus, window=1, subsample=1e-2).arrays()["word"]
    )
    a, rose = (thinned.tokenizer.encode(word)[0] for word in ("a", "rose"))
    share = np.mean(words == a) / np.mean(words == rose)
    assert share == pytest.approx(np.sqrt(2), rel=0.25)  # a is twice as frequent


def test_counts_of_the_test_split_are_on_the_training_splits_scale(corpus):
    totals = [load("cooccurrences", corpus, s).arrays()["count"].sum() for s in ("train", "test")]
    assert totals[1] == pytest.approx(totals[0], rel=0.01)


@pytest.mark.parametrize("words", [0, 1, 2])
def test_words_without_another_in_their_document_have_no_pairs(words):
    few = Words(np.arange(words), np.arange(words))
    found = pairs(few, np.full(words, 5))
    assert found["word"].shape == found["context"].shape == (0,)


def test_bad_options(corpus):
    with pytest.raises(InputError, match=r"has no two of the .* after subsampling at 1e-12$"):
        load("word_pairs", corpus, subsample=1e-12)
    for subsample in (0.0, -1.0):
        with pytest.raises(
            InputError, match=rf"data\.subsample is {subsample}; it must be above 0"
        ):
            load("word_pairs", corpus, subsample=subsample)
    with pytest.raises(InputError, match=r"data\.window is 0; 1 is the least"):
        load("word_pairs", corpus, window=0)
    with pytest.raises(InputError, match=r"data\.subsample is unknown"):
        load("cooccurrences", corpus, subsample=1e-3)
    with pytest.raises(InputError, match="no split 'valid'"):
        load("word_pairs", corpus, "valid")


@pytest.mark.parametrize("text", ["unseen", "rose"])
def test_a_split_of_no_two_words_is_named(corpus, text):
    folder = pathlib.Path(corpus)
    for name in held_out(path.name for path in folder.iterdir()):
        (folder / name).write_text(text)
    for kind in ("word_pairs", "cooccurrences"):
        with pytest.raises(
            InputError, match=r"has no two of the 11 words in one .* its test split$"
        ):
            load(kind, corpus, "test")


def test_pairs_of_texts_are_documents(monkeypatch):
    part = word_contexts.Part("hash", lambda: [("Dog, noun", "a Canis"), ("Cat, noun", "a Felis")])
    monkeypatch.setattr(word_contexts.text_pairs, "pairs", lambda name, split: part)
    assert list(word_contexts._lower("glosses", "train").read()) == [
        "dog, noun: a canis",
        "cat, noun: a felis",
    ]


def test_what_is_kept_of_texts_is_of_the_code_that_writes_them():
    assert pathlib.Path(word_contexts.__file__).read_bytes() in encoding.CODE
