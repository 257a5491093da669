"""Text sets by name: documents as rows of tokens, and pairs of texts, encoded once and kept."""

import dataclasses
import pathlib
from typing import Any

import numpy as np
from jaxtyping import Int32

from research.data import corpora, encoding, text_pairs, tokenizers
from research.data import packing as packings
from research.data.examples import Dataset, InMemory
from research.data.tokenizers import Tokenizer
from research.errors import InputError, check_least, nearest

PACKINGS = ("windows", "documents")


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Tokenized(Dataset):
    """What all kinds of text sets have: the tokenizer that a run keeps."""

    tokenizer: Tokenizer

    def rows(self) -> dict[str, np.ndarray]:
        """The fields of all rows, each text in them once."""
        return self.arrays()

    def traits(self) -> dict[str, Any]:
        return {"tokenizer": self.tokenizer, "vocabulary": self.tokenizer.size}

    def save(self, folder: pathlib.Path) -> None:
        """Writes tokenizer.json."""
        self.tokenizer.save(folder / tokenizers.FILE)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class TextSet(Tokenized):
    """`tokens`, `positions` and `segments`, int32 (length + 1,), for causal and masked models.

    Segment 0 is padding, and positions begin anew with each segment. `bytes_per_token` is of the
    split's whole text, in UTF-8, over all its tokens, the `end` of each document among them: what
    bits a byte are made with. It is None where tokens don't tell all of the text. Unless `packed`,
    all of a row is one segment. Where rows `overlap`, each begins a token after the one before it.
    """

    length: int
    bytes_per_token: float | None
    packed: bool
    overlap: bool = False

    def traits(self) -> dict[str, Any]:
        return super().traits() | {"length": self.length, "packed": self.packed}

    def test_traits(self) -> dict[str, Any]:
        return {"bytes_per_token": self.bytes_per_token}

    def rows(self) -> dict[str, np.ndarray]:
        """Of rows that overlap those alone that follow one another."""
        stride = self.length if self.overlap else 1
        return {name: array[::stride] for name, array in self.arrays().items()}

    def transitions(self) -> tuple[Int32[np.ndarray, "n"], Int32[np.ndarray, "n"]]:
        """The token before and the token, of each that a causal model predicts, every one once."""
        rows = self.rows()
        before, after = rows["segments"][:, :-1], rows["segments"][:, 1:]
        counts = (before == after) & (after > 0)
        return rows["tokens"][:, :-1][counts], rows["tokens"][:, 1:][counts]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PairSet(Tokenized):
    """`inputs` int32 (input_length,) and `targets` int32 (target_length,), of a text and a shorter.

    Each is cut where it is too long, ended by `end` and filled up with `pad`.
    """

    input_length: int
    target_length: int

    def traits(self) -> dict[str, Any]:
        own = {"input_length": self.input_length, "target_length": self.target_length}
        return super().traits() | own


def load(
    name: str,
    split: str,
    files: pathlib.Path | None = None,
    *,
    tokenizer: str,
    length: int,
    packing: str = "windows",
    vocabulary_size: int | None = None,
) -> TextSet:
    """The split of a corpus (`corpora.documents`) in rows of length + 1 tokens.

    `packing`: windows, at every place of the split's stream of documents, as nanoGPT draws them; of
    another split than train those that lie end to end, so that each token is predicted once, less
    a rest that fills none. documents: `packing.documents`, in which nothing crosses a document.

    The tokenizer is tokenizer.json of `files`, a run's folder, if it is there; else what
    `tokenizer` says: a kind, trained on the training split, one of `tokenizers.PUBLISHED`, or the
    path of a .json file.

    Raises:
      InputError: the corpus or the tokenizer cannot be had, an option has no such value, or the
        split has no more than `length` tokens.
    """
    if packing not in PACKINGS:
        raise InputError(f"data.packing={packing!r} is unknown; {nearest(packing, PACKINGS)}")
    check_least(1, **{"data.length": length})
    part = corpora.documents(name, split)
    made = encoding.tokenizer(
        tokenizer, vocabulary_size, files=files, training=lambda: corpora.documents(name, "train")
    )
    stream = encoding.stream(part, made)
    count = len(stream.tokens)
    if count <= length:
        raise InputError(
            f"data.length={length} is too large: the {split} split of {name} has {count} tokens, "
            f"so it is at most {count - 1}"
        )
    if packing == "windows":
        stride = 1 if split == "train" else length
        rows = packings.windows(stream.tokens, size=length + 1, stride=stride)
        made_of = packing
    else:
        rows = encoding.packed(part, made, size=length + 1)
        made_of = "documents, each from the end before"
    return TextSet(
        name=name,
        split=split,
        fingerprint=encoding.key(part.fingerprint, made.fingerprint, made_of, length),
        source=InMemory(rows),
        tokenizer=made,
        length=length,
        bytes_per_token=None if stream.size is None else stream.size / count,
        packed=packing == "documents",
        overlap=packing == "windows" and split == "train",
    )


def load_pairs(
    name: str,
    split: str,
    files: pathlib.Path | None = None,
    *,
    tokenizer: str,
    input_length: int,
    target_length: int,
    vocabulary_size: int | None = None,
) -> PairSet:
    """The split of `text_pairs.pairs`; a tokenizer is trained on inputs and targets.

    Raises:
      InputError: the pairs or the tokenizer cannot be had, or an option has no such value.
    """
    check_least(1, **{"data.input_length": input_length, "data.target_length": target_length})
    part = text_pairs.pairs(name, split)
    made = encoding.tokenizer(
        tokenizer, vocabulary_size, files=files, training=lambda: text_pairs.texts(name)
    )
    lengths = {"inputs": input_length, "targets": target_length}
    return PairSet(
        name=name,
        split=split,
        fingerprint=encoding.key(part.fingerprint, made.fingerprint, lengths),
        source=InMemory(encoding.pairs(part, made, **lengths)),
        tokenizer=made,
        input_length=input_length,
        target_length=target_length,
    )
