"""Texts with labels, to classify, and pairs of texts in which a span answers the first."""

import dataclasses
import functools
import hashlib
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from research.data import encoding, wordnet
from research.data.corpora import Part, hashed, held_out
from research.data.examples import InMemory, check_split
from research.data.text_sets import Tokenized
from research.data.tokenizers import Tokenizer
from research.errors import InputError, check_choice

SPLITS = ("train", "test")


class Example(NamedTuple):
    """Texts and what is asked of them; those of one group are in one split.

    `span` are the first character and that after the last of the answer in the last text.
    """

    group: str
    texts: tuple[str, ...]
    label: int = 0
    span: tuple[int, int] = (0, 0)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class LabelledSet(Tokenized):
    """`tokens`, `segments` and `types`, int32 (length,), and `label`, int32 (), of `classes`.

    Rows are as `encoding.framed` makes them.
    """

    length: int
    classes: Sequence[str]

    def traits(self) -> dict[str, Any]:
        own = {"length": self.length, "classes": self.classes}
        return super().traits() | own


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class SpanSet(Tokenized):
    """As `LabelledSet`, but `first` and `last`, int32 (): the places of the answer's tokens."""

    length: int

    def traits(self) -> dict[str, Any]:
        return super().traits() | {"length": self.length}


def load(
    name: str,
    split: str,
    files: pathlib.Path | None = None,
    *,
    tokenizer: str,
    length: int,
    vocabulary_size: int | None = None,
) -> LabelledSet | SpanSet:
    """The split of one of `CLASSES` or `SPANS`, split by `corpora.held_out`.

    gloss_categories: a definition of WordNet -> the lexicographers' file it is of, such as
    noun.animal, by its set's first word. gloss_words: a definition and a sentence -> the word in
    the sentence that is so defined, by the same. No example of training has the texts of one of the
    test. Sentences whose answer is cut off, or is no whole tokens, are left out. `tokenizer` is as
    `text_sets.load` has it.

    Raises:
      InputError: the set or the tokenizer cannot be had, or an option has no such value.
    """
    if length < 8:
        raise InputError(f"data.length={length} is too small: a text needs 8 tokens or more")
    examples = chosen(name, split)
    part = hashed([example.texts for example in examples])
    made = encoding.tokenizer(
        tokenizer, vocabulary_size, files=files, training=lambda: _words(chosen(name, "train"))
    )
    arrays: Mapping[str, np.ndarray] = encoding.framed(part, made, length=length)
    given: dict[str, Any] = dict(name=name, split=split, tokenizer=made, length=length)
    if name in SPANS:
        arrays = _spans(arrays, examples, made, length=length)
        if not len(arrays["first"]):
            raise InputError(f"data.length={length} is too small: no answer of {name} is within it")
        source = InMemory(arrays)
        key = encoding.key(part.fingerprint, made.fingerprint, length, [e.span for e in examples])
        return SpanSet(**given, fingerprint=key, source=source)
    labels = np.array([example.label for example in examples], np.int32)
    key = encoding.key(part.fingerprint, made.fingerprint, length, labels.tolist())
    source = InMemory({**arrays, "label": labels})
    return LabelledSet(**given, fingerprint=key, source=source, classes=CLASSES[name].names)


@functools.cache
def chosen(name: str, split: str) -> Sequence[Example]:
    """The split's examples, the test's mixed, so that the first are of all kinds.

    Raises InputError as `load` does.
    """
    check_choice("labelled set", name, (*CLASSES, *SPANS))
    check_split(name, split, SPLITS)
    examples = CLASSES[name].examples() if name in CLASSES else SPANS[name]()
    test = held_out(example.group for example in examples)
    train = [example for example in examples if example.group not in test]
    if split == "train":
        return train
    trained = {example.texts for example in train}
    unseen = [e for e in examples if e.group in test and e.texts not in trained]
    return sorted(unseen, key=lambda e: hashlib.sha256(repr(e).encode()).digest())


def _words(examples: Sequence[Example]) -> Part[str]:
    """All texts, as a tokenizer learns from them."""
    return hashed([text for example in examples for text in example.texts])


def _spans(
    arrays: Mapping[str, np.ndarray],
    examples: Sequence[Example],
    tokenizer: Tokenizer,
    *,
    length: int,
) -> dict[str, np.ndarray]:
    """The rows whose answers are whole, with their places.

    A row that stops before the answer has its `end` token where the answer begins, and one that
    stops behind it has it behind the answer's last token.
    """

    def tokens_to(place: int) -> tuple[np.ndarray, np.ndarray]:
        """How many tokens come before that end of the answer, and whether they are the row's."""
        cut = [(*e.texts[:-1], e.texts[-1][: e.span[place]].rstrip()) for e in examples]
        rows = encoding.framed(hashed(cut), tokenizer, length=length)
        count = rows["segments"].sum(axis=1) - 1
        same = (rows["tokens"] == arrays["tokens"]) | (np.arange(length) >= count[:, None])
        return count, same.all(axis=1)

    (first, begins), (stop, stops) = tokens_to(0), tokens_to(1)
    whole = begins & stops & (stop < length - 1)
    found = {**arrays, "first": first, "last": stop - 1}
    found = {field: array[whole].astype(np.int32) for field, array in found.items()}
    # Some tokenizers keep the blank before a word as a token of its own.
    start, last = found["first"], found["last"]
    rows = np.arange(len(start))
    while (before := (start < last) & _blank(found["tokens"][rows, start], tokenizer)).any():
        start += before
    return found


def _blank(tokens: np.ndarray, tokenizer: Tokenizer) -> np.ndarray:
    """Which of the tokens are white space; each kind is decoded once."""
    kinds, places = np.unique(tokens, return_inverse=True)
    blank = [
        kind != tokenizer.unknown and not tokenizer.decode([kind]).strip()
        for kind in kinds.tolist()
    ]
    return np.array(blank, bool)[places]


class Classes(NamedTuple):
    """What a set's labels mean, and its examples."""

    names: Sequence[str]
    examples: Callable[[], list[Example]]


def _gloss_categories() -> list[Example]:
    return [
        Example(synset.words[0].lower(), (synset.definition,), label=synset.category)
        for synset in wordnet.synsets()
    ]


def _gloss_words() -> list[Example]:
    """Sentences in which one word of the set is found, and once."""
    found = []
    for synset in wordnet.synsets():
        # The longest first: an alternation takes the first that matches.
        words = "|".join(map(re.escape, sorted(synset.words, key=len, reverse=True)))
        for sentence in synset.examples:
            places = list(re.finditer(rf"\b(?:{words})\b", sentence, re.IGNORECASE))
            if len(places) == 1:
                texts = (synset.definition, sentence)
                group = synset.words[0].lower()
                found.append(Example(group, texts, span=places[0].span()))
    return found


CLASSES = {"gloss_categories": Classes(wordnet.CATEGORIES, _gloss_categories)}
SPANS = {"gloss_words": _gloss_words}
