"""Scores of texts: against references by BLEU and ROUGE, and of their variety among themselves."""

import collections
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import sacrebleu

ROUGE = ("rouge1", "rouge2", "rougeL")
SELF_BLEU = 50  # texts that are compared with one another, at most


def rouge(texts: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Mean F1 of shared words, of pairs of them and of the longest common subsequence, 0 to 1.

    Each text has one reference; words are stemmed. Lin 2004, by the library `rouge-score`.
    """
    from rouge_score import rouge_scorer  # of every evaluation's start NLTK would be half

    scorer = rouge_scorer.RougeScorer(ROUGE, use_stemmer=True)
    found = [scorer.score(*pair) for pair in zip(references, texts, strict=True)]
    return {name: float(np.mean([scores[name].fmeasure for scores in found])) for name in ROUGE}


def bleu(texts: Sequence[str], references: Sequence[str]) -> float:
    """Corpus BLEU, 0 to 100, by sacrebleu's own words (1804.08771); one reference a text."""
    return sacrebleu.corpus_bleu(list(texts), [list(references)]).score


def distinct(texts: Sequence[str], n: int) -> float:
    """The share of different ones among all n-grams of words; 0 without any.

    1510.03055 divides by the number of words instead, a little more than that of n-grams.
    """
    counts = collections.Counter(itertools.chain.from_iterable(ngrams(t.split(), n) for t in texts))
    return len(counts) / max(counts.total(), 1)


def ngrams(words: Sequence[str], n: int) -> Iterator[tuple[str, ...]]:
    return zip(*(words[i:] for i in range(n)), strict=False)


def repetition(texts: Sequence[str]) -> float:
    """The share of texts that end in a loop (1904.09751, section 5.3)."""
    return float(np.mean([ends_in_a_loop(text.split()) for text in texts]))


def ends_in_a_loop(words: Sequence[str], *, shortest: int = 2, times: int = 3) -> bool:
    """Whether the last words are a phrase of `shortest` or more, said `times` times on end."""
    for size in range(shortest, len(words) // times + 1):
        phrase = words[-size:]
        if all(words[len(words) - k * size :][:size] == phrase for k in range(2, times + 1)):
            return True
    return False


def self_bleu(texts: Sequence[str]) -> float:
    """Mean BLEU of a text against all others, 0 to 100: high where all are alike (1802.01886).

    Of the first `SELF_BLEU` texts; 0 of a single one.
    """
    some = list(texts[:SELF_BLEU])
    if len(some) < 2:
        return 0.0
    scores = [
        sacrebleu.sentence_bleu(t, some[:i] + some[i + 1 :]).score for i, t in enumerate(some)
    ]
    return float(np.mean(scores))
