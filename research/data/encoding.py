"""Texts encoded once: trained tokenizers, streams of tokens and packed rows, kept in the cache.

What is kept lies under a key of the texts, the tokenizer and the code that made it; a change of any
makes it anew. Arrays are mapped from their files, so that a second start reads none of them.
"""

import hashlib
import itertools
import json
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tokenizers as library
from jaxtyping import Int, Int32

from research.data import packing, sources, tokenizer_models, tokenizers
from research.data.corpora import Part
from research.data.tokenizers import Tokenizer
from research.files import user_path

# The last writes out the texts of pairs itself.
FILES = ("encoding", "packing", "tokenizers", "tokenizer_models", "word_contexts")
BEGINNING = 1000  # characters of a text by which a tokenizer that knows all of it is judged
CODE = tuple(pathlib.Path(__file__).with_name(f"{name}.py").read_bytes() for name in FILES)


class Stream(NamedTuple):
    """The documents of a split one after the other, each with its `end` token.

    `ends` are the places after those, `size` is the bytes of the texts in UTF-8: None where tokens
    don't tell all of them, as those of words, which drop white space, or where one is `unknown`.
    """

    tokens: Int32[np.ndarray, "n"]
    ends: Int[np.ndarray, "d"]
    size: int | None


def tokenizer(
    kind: str, size: int | None, *, files: pathlib.Path | None, training: Callable[[], Part[str]]
) -> Tokenizer:
    """The tokenizer of the run whose folder is `files`, if it has one yet; else one of `kind`.

    A kind is trained on the texts of `training()`; one of `tokenizers.PUBLISHED` and the path of a
    .json file are made.

    Raises:
      InputError: the kind is unknown or takes no such size, or the file holds no tokenizer.
    """
    if files is not None and (files / tokenizers.FILE).exists():
        return Tokenizer.load(files / tokenizers.FILE)
    if kind in tokenizers.PUBLISHED or kind.endswith(".json"):
        if size is not None:
            raise tokenizer_models.no_size(kind)
        if kind in tokenizers.PUBLISHED:
            return tokenizers.PUBLISHED[kind]()
        return Tokenizer.load(user_path(kind))
    part = training()

    def fill(folder: pathlib.Path) -> None:
        print(f"training a {kind} tokenizer, this once", file=sys.stderr)
        tokenizers.train(kind, part.read(), size).save(folder / tokenizers.FILE)

    return Tokenizer.load(_kept(fill, part.fingerprint, kind, size) / tokenizers.FILE)


def stream(part: Part[str], tokenizer: Tokenizer) -> Stream:
    """The texts of a split, encoded."""

    def fill(folder: pathlib.Path) -> None:
        print("encoding the texts, this once", file=sys.stderr)
        sizes: list[int] = []
        lengths: list[int] = []
        told = True
        with (folder / "tokens").open("wb") as file:
            for text in part.read():
                ids = tokenizer.document(text)
                file.write(ids.tobytes())
                lengths.append(len(ids))
                sizes.append(len(text.encode("utf-8")))
                told = told and tokenizer.unknown not in ids
                told = told and tokenizer.restores(text[:BEGINNING])
        np.save(folder / "ends.npy", np.cumsum(lengths))
        (folder / "size.json").write_text(json.dumps(sum(sizes) if told else None))

    folder = _kept(fill, "stream", part.fingerprint, tokenizer.fingerprint)
    return Stream(
        tokens=np.asarray(np.memmap(folder / "tokens", np.int32, mode="r")),
        ends=np.load(folder / "ends.npy"),
        size=json.loads((folder / "size.json").read_text()),
    )


def packed(part: Part[str], tokenizer: Tokenizer, *, size: int) -> packing.Arrays:
    """`packing.documents` of the texts of a split, in rows of `size` tokens."""

    def fill(folder: pathlib.Path) -> None:
        tokens, ends, _ = stream(part, tokenizer)
        rows = packing.documents(tokens, ends, size=size, end=tokenizer.end, pad=tokenizer.pad)
        _save(folder, rows)

    return _mapped(_kept(fill, "packed", part.fingerprint, tokenizer.fingerprint, size))


def pairs(part: Part[tuple[str, str]], tokenizer: Tokenizer, **lengths: int) -> packing.Arrays:
    """An array of each of `lengths`, by name: (N, length), of the pairs' first and second texts.

    A text too long is cut; each is ended by `end` and filled up with `pad`.
    """

    def fill(folder: pathlib.Path) -> None:
        print("encoding the pairs, this once", file=sys.stderr)
        rows = list(part.read())
        filled = {
            name: np.full((len(rows), length), tokenizer.pad, np.int32)
            for name, length in lengths.items()
        }
        for i, texts in enumerate(rows):
            for array, text in zip(filled.values(), texts, strict=True):
                ids = tokenizer.document(text)[:-1][: array.shape[1] - 1]
                array[i, : len(ids)] = ids
                array[i, len(ids)] = tokenizer.end
        _save(folder, filled)

    return _mapped(_kept(fill, "pairs", part.fingerprint, tokenizer.fingerprint, lengths))


def framed(part: Part[tuple[str, ...]], tokenizer: Tokenizer, *, length: int) -> packing.Arrays:
    """Rows of one text or of several, as BERT reads them (1810.04805, section 3.2).

    `tokens`, `segments` and `types`, int32 (N, length): `start` where there is one, then each text
    and `end`. A row too long loses the rest of its last texts, and is ended nevertheless. Segments
    are 1, and 0 of what fills up; types are the number of the text, from 0.
    """

    def fill(folder: pathlib.Path) -> None:
        print("encoding the texts, this once", file=sys.stderr)
        _save(folder, frames(list(part.read()), tokenizer, length=length))

    return _mapped(_kept(fill, "framed", part.fingerprint, tokenizer.fingerprint, length))


def frames(
    rows: Sequence[Sequence[str]], tokenizer: Tokenizer, *, length: int
) -> dict[str, Int32[np.ndarray, "N T"]]:
    """What `framed` keeps, of texts at hand."""
    tokens = np.full((len(rows), length), tokenizer.pad, np.int32)
    segments, types = np.zeros_like(tokens), np.zeros_like(tokens)
    begin = [] if tokenizer.start is None else [np.array([tokenizer.start], np.int32)]
    encoded = tokenizer.documents(text for texts in rows for text in texts)
    for i, texts in enumerate(rows):
        parts = list(itertools.islice(encoded, len(texts)))
        ids = np.concatenate([*begin, *parts])[:length]
        # What begins the row is of the first text's type.
        sizes = [len(part) + len(begin) * (number == 0) for number, part in enumerate(parts)]
        tokens[i, : len(ids)], segments[i, : len(ids)] = ids, 1
        types[i, : len(ids)] = np.repeat(np.arange(len(parts)), sizes)[:length]
        tokens[i, len(ids) - 1] = tokenizer.end
    return {"tokens": tokens, "segments": segments, "types": types}


def key(*parts: Any) -> str:
    """A SHA-256 of what is told apart by its representation."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _kept(fill: Callable[[pathlib.Path], None], *parts: Any) -> pathlib.Path:
    name = key(CODE, library.__version__, *parts)[:32]
    return sources.install(sources.cache_dir() / "text" / name, fill)


def _save(folder: pathlib.Path, arrays: packing.Arrays) -> None:
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)


def _mapped(folder: pathlib.Path) -> packing.Arrays:
    return {
        path.stem: np.asarray(np.load(path, mmap_mode="r")) for path in sorted(folder.glob("*.npy"))
    }
