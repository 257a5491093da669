"""Pairs of a text and a shorter one: package descriptions to summarize, words to define."""

import itertools
import re
from collections.abc import Callable

from research.data import package_index, wordnet
from research.data.corpora import Part, hashed, held_out
from research.errors import InputError, nearest

WRAPPED = re.compile(r"(?<=\S)\n(?=\S)")  # a line of a list is indented


def pairs(name: str, split: str) -> Part[tuple[str, str]]:
    """The (input, target) pairs of one split.

    `debian_descriptions`: long -> short description of a package, split by source package;
    `glosses`: "word, noun" -> WordNet's definition, split by word. `corpora.held_out` chooses.
    A text of the training inputs is no input of the test split.

    Raises:
      InputError: there is no such set or split, or it cannot be had.
    """
    if split not in ("train", "test"):
        raise InputError(f"{name} has no split {split!r}; {nearest(split, ('train', 'test'))}")
    rows = PAIRS[name]()
    test = held_out(group for group, *_ in rows)
    trained = {text for group, text, _ in rows if group not in test}
    if split == "train":
        return hashed([(text, short) for group, text, short in rows if group not in test])
    return hashed(
        [(text, short) for group, text, short in rows if group in test and text not in trained]
    )


def texts(name: str) -> Part[str]:
    """Inputs and targets of the training split one by one, as a tokenizer learns from them."""
    part = pairs(name, "train")
    return Part(part.fingerprint, lambda: itertools.chain.from_iterable(part.read()))


def _descriptions() -> list[tuple[str, str, str]]:
    """`package_index.descriptions`, each paragraph of a long one on one line."""
    rows = package_index.descriptions()
    return [(source, WRAPPED.sub(" ", long), short) for source, long, short in rows]


def _glosses() -> list[tuple[str, str, str]]:
    """(word, "word, part of speech", definition) of each of WordNet's sets of synonyms.

    The word is the first of the set, so that no definition comes twice; examples are left out.
    """
    named = ((synset.words[0], synset) for synset in wordnet.synsets())
    return [(word.lower(), f"{word}, {s.speech}", s.definition) for word, s in named]


PAIRS: dict[str, Callable[[], list[tuple[str, str, str]]]] = {
    "debian_descriptions": _descriptions,
    "glosses": _glosses,
}
