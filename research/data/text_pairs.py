"""Pairs of a text and a shorter one: package descriptions to summarize, words to define."""

import itertools
from collections.abc import Callable, Iterator

from research.data import package_index, sources
from research.data.corpora import Part, hashed, held_out
from research.errors import InputError, nearest

SPEECH = {"noun": "noun", "verb": "verb", "adj": "adjective", "adv": "adverb"}


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


def _glosses() -> list[tuple[str, str, str]]:
    """(word, "word, part of speech", definition) of each of WordNet's sets of synonyms.

    The word is the first of the set, so that no definition comes twice; examples are left out.
    """
    folder = sources.fetch("wordnet") / "package" / "dict"
    rows = []
    for file, speech in SPEECH.items():
        text = (folder / f"data.{file}").read_text(encoding="utf-8")
        rows += [(word.lower(), f"{word}, {speech}", gloss) for word, gloss in glosses(text)]
    return rows


def glosses(text: str) -> Iterator[tuple[str, str]]:
    """(word, definition) of each line of a data file of WordNet (its manual page wndb(5))."""
    for line in text.splitlines():
        if line.startswith(" "):  # the licence
            continue
        fields, _, gloss = line.partition(" | ")
        # Offset, file, type, count of words, first word; an adjective may end in its place: (a).
        word = fields.split(" ", 5)[4].partition("(")[0].replace("_", " ")
        yield word, gloss.partition('; "')[0].strip()


PAIRS: dict[str, Callable[[], list[tuple[str, str, str]]]] = {
    "debian_descriptions": package_index.descriptions,
    "glosses": _glosses,
}
