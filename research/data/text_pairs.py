"""Pairs of a text and a shorter one: package descriptions to summarize, words to define."""

import itertools
import re
from collections.abc import Callable

from research.data import package_index, wordnet
from research.data.corpora import Part, hashed, held_out
from research.data.examples import check_split
from research.errors import check_choice

RUN = 8  # words: what a package's sisters and versions have in common, and a language has not
WRAPPED = re.compile(r"(?<=\S)\n(?=\S)")  # a line of a list is indented


def pairs(name: str, split: str) -> Part[tuple[str, str]]:
    """The (input, target) pairs of one split.

    `debian_descriptions`: long -> short description of a package, split by source package;
    `glosses`: "word, noun" -> WordNet's definition, split by word. `corpora.held_out` chooses.
    An input half or more of whose runs of `RUN` words are in training inputs is no test.

    Raises:
      InputError: there is no such set or split, or it cannot be had.
    """
    check_choice("set of pairs", name, PAIRS)
    check_split(name, split, ("train", "test"))
    rows = PAIRS[name]()
    test = held_out(group for group, *_ in rows)
    trained = [(text, short) for group, text, short in rows if group not in test]
    if split == "train":
        return hashed(trained)
    seen = set(itertools.chain.from_iterable(runs(text) for text, _ in trained))

    def is_new(text: str) -> bool:
        found = runs(text)
        return len(found & seen) < len(found) / 2

    return hashed([(text, short) for group, text, short in rows if group in test and is_new(text)])


def runs(text: str) -> set[str]:
    """Each `RUN` words that follow one another in a text; a shorter text is one run."""
    words = text.split()
    return {" ".join(words[i : i + RUN]) for i in range(max(1, len(words) - RUN + 1))}


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

    The word is the first of the set, so that each set comes once; examples are left out. Some sets
    share a definition: 580 stand in several, and 139 of the 11,903 test targets in training too.
    """
    named = ((synset.words[0], synset) for synset in wordnet.synsets())
    return [(word.lower(), f"{word}, {s.speech}", s.definition) for word, s in named]


PAIRS: dict[str, Callable[[], list[tuple[str, str, str]]]] = {
    "debian_descriptions": _descriptions,
    "glosses": _glosses,
}
