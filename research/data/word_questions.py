"""What people answered about words: analogies, and how similar two words are."""

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from research.data import sources

SIMILARITIES = {"wordsim353": "wordsim353.tsv", "simlex999": "simlex999.txt"}


class Similar(NamedTuple):
    """Two words and how similar people find them, 0 to 10."""

    first: str
    second: str
    score: float


@functools.cache
def analogies() -> Mapping[str, Sequence[tuple[str, ...]]]:
    """Mikolov's 19,544, by section: "a is to b as c is to d" (1301.3781, table 1), in lower case.

    Sections that begin with gram are syntactic, the other five semantic. Raises InputError: the
    package cannot be had.
    """
    sections: dict[str, list[tuple[str, ...]]] = {}
    for line in _lines("questions-words.txt"):
        if line.startswith(":"):
            section = sections.setdefault(line.removeprefix(": "), [])
        else:
            section.append(tuple(line.lower().split()))
    return sections


@functools.cache
def similarities(name: str) -> Sequence[Similar]:
    """WordSim-353, where related words are similar, or SimLex-999, where only like ones are."""
    rows = (line.lower().split("\t") for line in _lines(SIMILARITIES[name]) if line[:1] != "#")
    return [Similar(first, second, float(score)) for first, second, score in rows]


def _lines(file: str) -> list[str]:
    folder = sources.fetch("gensim") / "gensim" / "test" / "test_data"
    return (folder / file).read_text(encoding="utf-8").splitlines()
