"""Scores of texts: what stands beside them, by kind, and their order from real to trivial."""

import numpy as np
import pytest

from research.data import packing, tokenizers
from research.data.examples import InMemory
from research.data.text_sets import PairSet, TextSet
from research.scores.artefacts import score
from research.scores.texts import pieces, unigram_words

WORDS = ["the", "cat", "sat", "on", "a", "mat", "and", "saw", "that", "rat", "at", "sea"]
TOKENIZER = tokenizers.train("char", [" ".join(WORDS)])


def pair_set(targets):
    rows = np.full((len(targets), 20), TOKENIZER.pad, np.int32)
    for row, text in zip(rows, targets, strict=True):
        ids = TOKENIZER.document(text)
        row[: len(ids)] = ids
    return PairSet(
        name="few",
        split="train",
        fingerprint="",
        source=InMemory({"targets": rows}),
        tokenizer=TOKENIZER,
        input_length=40,
        target_length=20,
    )


def test_summaries_stand_beside_the_lead_and_the_most_frequent():
    train = pair_set(["a cat", "a mat", "a cat", "the sea"])
    inputs = [" ".join(WORDS), "the cat saw that sea and " + " ".join(WORDS)]
    references = ["the cat sat on a mat", "the cat saw that sea and the cat"]
    texts = ["the cat sat", "the cat saw that rat"]
    artefacts = dict(texts=texts, inputs=inputs, references=references)
    found = {s.metric: s for s in score(artefacts, train, train)}
    assert set(found) == {f"{m}[test,n=2]" for m in ("rouge1", "rouge2", "rougeL", "bleu")}
    row = found["rougeL[test,n=2]"]
    # Longest common subsequences by hand, as F1 of words.
    assert row.value == pytest.approx((2 * 3 / 9 + 2 * 4 / 13) / 2)
    assert row.floor == 1 and row.sample_count == 2
    lead = (2 * 6 / 18 + 2 * 8 / 20) / 2
    frequent = (2 * 1 / 8 + 2 * 1 / 10) / 2  # of "a cat" one word in each
    assert row.baselines == pytest.approx({"lead_words": lead, "most_frequent": frequent})


def text_set(documents, *, length=40, packed=False, overlap=False):
    stream = np.concatenate([TOKENIZER.document(text) for text in documents])
    if packed:
        ends = np.cumsum([len(text) + 1 for text in documents])
        special = dict(end=TOKENIZER.end, pad=TOKENIZER.pad)
        rows = packing.documents(stream, ends, size=length + 1, **special)
    else:
        rows = packing.windows(stream, size=length + 1, stride=1 if overlap else length)
    return TextSet(
        name="few",
        split="train",
        fingerprint="",
        source=InMemory(rows),
        tokenizer=TOKENIZER,
        length=length,
        bytes_per_token=1.0,
        packed=packed,
        overlap=overlap,
    )


def test_a_models_texts_stand_beside_documents_of_as_many_words():
    rng = np.random.default_rng(0)
    train, test = (
        text_set([" ".join(rng.choice(WORDS, size=30)) for _ in range(8)]) for _ in range(2)
    )
    looping = ["the cat sat on the cat sat on the cat sat on"] * 4
    found = {s.metric: s for s in score({"texts": looping}, train, test)}
    assert set(found) == {f"{m}[n=4]" for m in ("distinct_2", "repetition", "self_bleu")}
    pairs, loops, alike = (found[f"{m}[n=4]"] for m in ("distinct_2", "repetition", "self_bleu"))
    assert pairs.value == 4 / 44 < pairs.baselines["one_text"] < pairs.floor
    assert (loops.value, loops.floor) == (1, 0)
    assert alike.value == pytest.approx(100) == alike.baselines["one_text"] > alike.floor
    assert found == {s.metric: s for s in score({"texts": looping}, train, test)}
    many = {s.metric: s.sample_count for s in score({"texts": looping * 15}, train, test)}
    assert many == {"distinct_2[n=60]": 60, "repetition[n=60]": 60, "self_bleu[n=50]": 50}


def test_random_words_are_drawn_by_their_frequency():
    """A window of 48 letters has 11 whole words, of which 8 are the same."""
    train = text_set([" ".join(["the the cat the"] * 40)], length=48)
    few, many = (text.split() for text in unigram_words(train, [3, 4000], seed=0))
    assert len(few) == 3 and len(many) == 4000 and set(many) == {"the", "cat"}
    share, error = 8 / 11, (8 * 3 / 11**2 / 4000) ** 0.5
    assert many.count("the") / 4000 == pytest.approx(share, abs=4 * error)


def test_random_words_are_those_of_training():
    train, test = text_set([" ".join(["the"] * 20)]), text_set([" ".join(WORDS)])
    found = {s.metric: s for s in score({"texts": ["a cat sat on a mat"]}, train, test)}
    row = found["distinct_2[n=1]"]
    assert row.baselines["unigram_words"] == 1 / 5 and row.floor == 1


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("length", [7, 40])
def test_a_word_over_a_windows_seam_is_one(length, overlap):
    """The pieces are the documents' words on from the second, as many in each as asked for."""
    rng = np.random.default_rng(0)
    documents = [" ".join(rng.choice(WORDS, size=n)) for n in (30, 1, 50)]
    data = text_set(documents, length=length, overlap=overlap)
    words = " ".join(documents).split()[1:]
    found = pieces(data, [5, 12, 7])
    assert found == [" ".join(words[a:b]) for a, b in ((0, 5), (5, 17), (17, 24))]
    assert pieces(data, [60])[0].split() == words[:60]
    few = text_set(["the cat sat on a mat"], length=10)
    assert pieces(few, [3, 3]) == ["cat sat on", "a cat sat"]


@pytest.mark.parametrize("packed", [False, True])
def test_no_half_words_are_counted(packed):
    """Of documents in windows, and of packed ones of which some are cut."""
    rng = np.random.default_rng(0)
    documents = [" ".join(rng.choice(WORDS, size=n)) for n in (30, 5, 50, 7)]
    data = text_set(documents, packed=packed, overlap=not packed)
    drawn = unigram_words(data, [200], seed=0)[0].split()
    assert len(drawn) == 200 and set(drawn) <= set(WORDS) and len(set(drawn)) > 8
    (piece,) = pieces(data, [80])
    assert len(piece.split()) == 80 and set(piece.split()) <= set(WORDS)


def test_other_artefacts_of_texts_have_no_score():
    train = pair_set(["a cat"])
    assert score({"texts": ["a"]}, train, train) == []
    texts = text_set([" ".join(WORDS)])
    assert score({"texts": ["a [cat] sat"], "references": ["a cat sat"]}, texts, texts) == []
