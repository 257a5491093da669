"""Scores of texts: of summaries beside trivial ones, of a language model beside documents."""

import collections
import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from research.data.examples import Dataset
from research.data.text_sets import PairSet, TextSet
from research.evaluation.text import SELF_BLEU, bleu, distinct, repetition, rouge, self_bleu
from research.scores.table import Better, Score

LEAD = 12  # words
SCANNED = 2000  # training rows whose words are counted, at most
VARIETY: dict[str, tuple[Better, Callable[[Sequence[str]], float]]] = {
    "distinct_2": ("higher", lambda texts: distinct(texts, 2)),
    "repetition": ("lower", repetition),
    "self_bleu": ("lower", self_bleu),
}


def score_pairs(
    texts: Sequence[str], inputs: Sequence[str], references: Sequence[str], train: PairSet
) -> list[Score]:
    """ROUGE and BLEU of what was written after inputs, beside what needs no model of language.

    `lead_words`: the input's first twelve words; `most_frequent`: the training target that comes
    most often. The floor is the references' own score.
    """
    sets = {"ours": texts, "floor": references} | baselines(inputs, train)
    found = {name: against(references, those) for name, those in sets.items()}
    better: dict[str, Better] = dict.fromkeys(found["ours"], "higher")
    return scores(found, better, of="test,", counts=dict.fromkeys(better, len(texts)))


def baselines(inputs: Sequence[str], train: Dataset) -> dict[str, Sequence[str]]:
    """Trivial texts by name, one for each input; `train` is a set of pairs."""
    rows, counts = np.unique(train.arrays()["targets"], axis=0, return_counts=True)
    frequent = train.traits()["tokenizer"].decode(rows[np.argmax(counts)])
    return {
        "lead_words": [" ".join(text.split()[:LEAD]) for text in inputs],
        "most_frequent": [frequent] * len(inputs),
    }


def against(references: Sequence[str], texts: Sequence[str]) -> dict[str, float]:
    return rouge(texts, references) | {"bleu": bleu(texts, references)}


def score_texts(
    texts: Sequence[str], train: TextSet, test: TextSet, *, seed: int = 0
) -> list[Score]:
    """Variety of texts, beside pieces of the test split with as many words each.

    `unigram_words` are words drawn as often as in training, `one_text` is the first real piece for
    all.
    """
    counts = [len(text.split()) for text in texts]
    real = pieces(test, counts)
    drawn = unigram_words(train, counts, seed=seed)
    sets = {"ours": texts, "floor": real, "unigram_words": drawn, "one_text": real[:1] * len(texts)}
    found = {
        name: {metric: score(those) for metric, (_, score) in VARIETY.items()}
        for name, those in sets.items()
    }
    counted = dict.fromkeys(VARIETY, len(texts)) | {"self_bleu": min(len(texts), SELF_BLEU)}
    return scores(found, {name: way for name, (way, _) in VARIETY.items()}, counts=counted)


def scores(
    found: dict[str, dict[str, float]],
    better: Mapping[str, Better],
    *,
    of: str = "",
    counts: Mapping[str, int],
) -> list[Score]:
    ours, floor = found.pop("ours"), found.pop("floor")
    return [
        Score(
            metric=f"{metric}[{of}n={counts[metric]}]",
            value=ours[metric],
            floor=floor[metric],
            baselines={name: values[metric] for name, values in found.items()},
            better=way,
            sample_count=counts[metric],
        )
        for metric, way in better.items()
    ]


def pieces(data: TextSet, counts: Sequence[int]) -> list[str]:
    """Texts of so many words each, one after the other in the set, which then starts anew."""
    words = first_words(data, sum(counts))
    words *= -(-sum(counts) // max(len(words), 1))
    ends = np.cumsum(counts)
    return [" ".join(words[end - count : end]) for end, count in zip(ends, counts, strict=True)]


def unigram_words(data: TextSet, counts: Sequence[int], *, seed: int) -> list[str]:
    """Texts of so many words each, drawn by their frequency in the set."""
    tokens = data.arrays()["tokens"]
    seen: collections.Counter[str] = collections.Counter()
    for place in np.linspace(0, len(tokens) - 1, min(SCANNED, len(tokens)), dtype=int):
        seen.update(whole_words(data, tokens[place]))
    words, share = list(seen), np.array(list(seen.values())) / seen.total()
    rng = np.random.default_rng(seed)
    return [" ".join(words[i] for i in rng.choice(len(words), n, p=share)) for n in counts]


def first_words(data: TextSet, count: int) -> list[str]:
    """The set's words from its start on, at least so many if it has them."""
    rows = data.arrays()["tokens"]
    if data.packed:  # no row goes on where the one before it stopped
        stream = np.pad(rows, ((0, 0), (0, 1)), constant_values=data.tokenizer.end)
    else:  # rows that lie end to end share a token, and a word may lie over their seam
        stream = rows[:: data.length if data.overlap else 1, 1:]
    taken = 1
    while True:
        words = whole_words(data, stream[:taken].ravel())
        if len(words) >= count or taken >= len(stream):
            return words
        taken *= 2


def whole_words(data: TextSet, tokens: np.ndarray) -> list[str]:
    """The words of a stretch that may be cut at both ends, without the first and the last.

    Those are kept where there are no others. Of packed documents each is such a stretch.
    """
    parts = np.split(tokens, np.flatnonzero(tokens == data.tokenizer.end) + 1)
    texts = [data.tokenizer.decode(part).split() for part in parts]
    stretches = texts if data.packed else [list(itertools.chain.from_iterable(texts))]
    return [word for words in stretches for word in words[1:-1] or words]
