"""Corpora: text sets of TFDS, Shakespeare's works, lines that R packages hold, names of files."""

import os

import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.core import constants

from research.data import corpora, datasets
from research.errors import InputError

pytestmark = pytest.mark.usefixtures("cache")


class Sayings(tfds.core.GeneratorBasedBuilder):
    """A set of TFDS with a feature `text`."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = tfds.features.FeaturesDict({"text": tfds.features.Text()})
        return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(8), "test": self._generate_examples(3)}

    def _generate_examples(self, count):
        for i in range(count):
            yield i, {"text": f"Größe {i} of {count}"}


def test_any_text_set_of_tfds(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "DATA_DIR", str(tmp_path / "tfds"))
    train = datasets.load("tfds:sayings", "train", tokenizer="char", length=30)
    assert train.tokenizer.decode(train.arrays()["tokens"][0]).startswith("Größe 0 of 8Größe 1 of")
    half = datasets.load("sayings", "train[:50%]", tokenizer="char", length=30)
    assert len(half) < len(train) and half.fingerprint != train.fingerprint
    with pytest.raises(InputError, match="sayings has no split 'tset'; nearest: test"):
        datasets.load("sayings", "tset", tokenizer="char", length=30)
    with pytest.raises(InputError, match="8-bit images of one shape are needed"):
        datasets.load("sayings", "train")


def test_shakespeare_is_42_works(monkeypatch):
    monkeypatch.delenv("ATELIER_CACHE")
    train, test = (list(corpora.documents("shakespeare", s).read()) for s in ("train", "test"))
    assert (len(train), len(test)) == (37, 5)
    assert sum(len(text) for text in train + test) == 5_057_198
    assert not any("gutenberg" in text.lower() for text in train + test)
    assert [text.split("\n")[0] for text in test] == [
        *("KING HENRY IV, SECOND PART", "THE LIFE OF HENRY THE EIGHTH", "JULIUS CAESAR"),
        *("PERICLES PRINCE OF TYRE", "THE TWO GENTLEMEN OF VERONA"),
    ]


def test_rs_strings_are_read():
    """A character vector as R 4 serializes it, of lines with and without letters beyond ASCII."""
    lines = ["EMMA", "", "naïveté"]
    records = [line.encode() for line in lines]
    head = b"X\n" + b"".join(n.to_bytes(4, "big") for n in (3, 0x40201, 0x30500, 5)) + b"UTF-8"
    body = b"".join((0x40009).to_bytes(4, "big") + len(r).to_bytes(4, "big") + r for r in records)
    vector = (16).to_bytes(4, "big") + len(lines).to_bytes(4, "big")
    assert list(corpora._strings(head + vector + body)) == lines
    with pytest.raises(InputError, match="something else than vectors of lines"):
        list(corpora._strings(head + (13).to_bytes(4, "big") + vector[4:] + body))


def test_a_files_name_may_be_no_utf8(tmp_path):
    (tmp_path / "a.txt").write_text("of one text\n" * 20)
    (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_text("of another\n" * 20)
    sizes = [
        len(list(corpora.documents(str(tmp_path), split).read())) for split in ("train", "test")
    ]
    assert sizes == [1, 1]


def test_one_document_in_ten_is_held_out_for_all_time():
    names = [f"work {i}" for i in range(2000)]
    test = corpora.held_out(names)
    assert 0.08 < len(test) / len(names) < 0.12
    # A name's split does not depend on the others, nor on their order.
    assert corpora.held_out(reversed(names[:500])) == test & set(names[:500])
    assert sorted(test)[:3] == ["work 1003", "work 1005", "work 1006"]


@pytest.mark.parametrize("names", [["a", "b"], ["work 1003", "work 1005"]])
def test_few_documents_fill_both_splits(names):
    assert len(corpora.held_out(names)) == 1


def test_bad_texts_are_named(tmp_path):
    def char(path, split="train"):
        return datasets.load(str(path), split, tokenizer="char", length=16)

    (tmp_path / "bytes.txt").write_bytes(b"caf\xc3\xa9 caf\xe9")
    with pytest.raises(InputError, match=r"bytes\.txt is not UTF-8 at byte 9 \(0xe9\)"):
        char(tmp_path / "bytes.txt")
    with pytest.raises(InputError, match=r"bytes\.txt is not UTF-8 at byte 9"):
        char(tmp_path)
    (tmp_path / "empty.txt").write_text(" \n")
    with pytest.raises(InputError, match=r"empty\.txt is empty"):
        char(tmp_path / "empty.txt")
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match=r"none is empty: no text in the 0 documents"):
        char(tmp_path / "none")
    with pytest.raises(InputError, match=r"cannot read .*gone\.txt: No such file"):
        char(tmp_path / "gone.txt")
    with pytest.raises(InputError, match=r"has no split 'trian'; nearest: train"):
        char(tmp_path / "empty.txt", "trian")
    with pytest.raises(InputError, match=r"cannot read ~nosuchuser/a\.txt: No such file"):
        char("~nosuchuser/a.txt")
    (tmp_path / "more" / "own").mkdir(parents=True)
    (tmp_path / "more" / "link").symlink_to(tmp_path / "none")
    with pytest.raises(InputError, match=r"more/link is a link to a folder"):
        char(tmp_path / "more")
