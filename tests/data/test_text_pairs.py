"""Pairs of a long text and a short one: of Debian's packages, of WordNet, and as examples."""

import shutil

import numpy as np
import pytest

from research.data import datasets, package_index, text_pairs, wordnet
from research.errors import InputError

pytestmark = pytest.mark.usefixtures("cache")

INDEX = """Package: {0}
Description-md5: 0
Description-en: {1}
 {2}
 .
   * and more
"""
LONG = "does all that one may ask of such a program, " * 6


def test_descriptions_are_pairs_by_source_package():
    entries = [
        ("again", "a library", LONG),
        ("libfoo1", "a library", LONG),
        ("foo-dev", "its headers", LONG + "to the letter"),
        ("foo-data", "its data", LONG + "bit by bit"),
        ("bar", "a short story", "of no length"),
    ]
    packages = "\n".join(
        [
            "Package: again\n",
            "Package: libfoo1\nSource: foo (1.2)\nSize: 3\n",
            "Package: foo-dev\nSource: foo (1.2)\n",
            "Package: foo-data\nSource: foo\n",
        ]
    )
    index = "\n".join(INDEX.format(*entry) for entry in entries)
    assert package_index.parse(index, packages) == [
        ("again", f"{LONG}\n\n  * and more", "a library"),
        ("foo", f"{LONG}bit by bit\n\n  * and more", "its data"),
        ("foo", f"{LONG}to the letter\n\n  * and more", "its headers"),
    ]


def test_the_index_comes_through_apt_and_is_kept(tmp_path, cache, monkeypatch):
    """A client of our own writes the indices of two archives where it is told to."""
    entries = "\n".join(INDEX.format(f"p{i}", f"program {i}", f"{i} {LONG}") for i in range(40))
    (tmp_path / "translation").write_text(entries)
    (tmp_path / "packages").write_text("\n".join(f"Package: p{i}\n" for i in range(40)))
    script = f"""#!/bin/sh
for word; do case "$word" in Dir::State=*) lists="${{word#*=}}/lists";; esac; done
{shutil.which("mkdir")} -p $lists
{shutil.which("cp")} {tmp_path}/translation $lists/a_dists_b_main_i18n_Translation-en
{shutil.which("cp")} {tmp_path}/packages $lists/a_dists_b_main_binary-amd64_Packages
echo > $lists/a_dists_b-security_main_i18n_Translation-en
"""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "apt-get").write_text(script)
    (tmp_path / "bin" / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert len(package_index.descriptions()) == 40
    (tmp_path / "bin" / "apt-get").unlink()
    assert package_index.descriptions()[0][2] == "program 0"
    shutil.rmtree(cache)
    with pytest.raises(InputError, match="`apt-get` is not installed and brings Debian's package"):
        package_index.descriptions()


def test_glosses_are_read_of_wordnets_lines():
    text = """  1 This software and database is being provided
00001740 03 n 01 entity 0 003 ~ 00001930 n 0000 | that is perceived; "it was | seen"; "no doubt"
00020141 00 s 02 outback(a) 0 remote 0 001 & 00019912 a 0000 | inaccessible and sparse
00002684 03 n 02 physical_object 0 object 0 000 | a "tangible" thing  
"""
    found = list(wordnet.parse(text, "noun"))
    assert [(synset.words, synset.definition) for synset in found] == [
        (["entity"], "that is perceived"),
        (["outback", "remote"], "inaccessible and sparse"),
        (["physical object", "object"], 'a "tangible" thing'),
    ]
    assert [synset.category for synset in found] == [3, 0, 3]
    assert [synset.examples for synset in found] == [["it was | seen", "no doubt"], [], []]


@pytest.fixture
def few_pairs(monkeypatch):
    rows = [(f"g{i % 50}", f"text {i} {'long ' * (i % 9)}", f"short {i}") for i in range(200)]
    rows += [("g0", "one text of two sources", "x"), ("g1", "one text of two sources", "y")]
    monkeypatch.setitem(text_pairs.PAIRS, "glosses", lambda: rows)
    return rows


def test_pairs_of_a_group_are_in_one_split(few_pairs):
    train, test = (list(text_pairs.pairs("glosses", split).read()) for split in ("train", "test"))
    group = {(text, short): name for name, text, short in few_pairs}
    assert test and not {group[p] for p in train} & {group[p] for p in test}
    assert not {text for text, _ in train} & {text for text, _ in test}


def test_a_text_of_training_is_no_question_of_the_test(few_pairs, monkeypatch):
    monkeypatch.setattr(text_pairs, "held_out", lambda names: {"g1"})
    train, test = (dict(text_pairs.pairs("glosses", s).read()) for s in ("train", "test"))
    assert "one text of two sources" in train and "one text of two sources" not in test
    assert len(test) == 4


def test_a_near_copy_of_a_training_text_is_no_test(monkeypatch):
    """Eighteen words have 11 runs of eight: an end of 13 in common is 6 of them, of 12 it is 5."""
    words = [f"word{i}" for i in range(18)]
    near = ["other"] * 5 + words[5:]
    far = ["other"] * 6 + words[6:]
    rows = [(name, " ".join(text), "") for name, text in (("a", words), ("b", near), ("b", far))]
    monkeypatch.setitem(text_pairs.PAIRS, "glosses", lambda: rows)
    monkeypatch.setattr(text_pairs, "held_out", lambda names: {"b"})
    assert [text for text, _ in text_pairs.pairs("glosses", "test").read()] == [" ".join(far)]


def test_pairs_are_ended_and_filled_up(few_pairs):
    options = {"tokenizer": "char", "input_length": 24, "target_length": 12}
    train = datasets.load("glosses", "train", **options)
    pairs = list(text_pairs.pairs("glosses", "train").read())
    rows = train.arrays()
    assert rows["inputs"].shape == (len(pairs), 24) and rows["targets"].shape == (len(pairs), 12)
    for i, texts in enumerate(pairs):
        for row, text in zip((rows["inputs"][i], rows["targets"][i]), texts, strict=True):
            kept = text[: len(row) - 1]
            assert train.tokenizer.decode(row) == kept
            assert row[len(kept)] == train.tokenizer.end
            assert np.all(row[len(kept) + 1 :] == train.tokenizer.pad)
    assert (train.traits()["input_length"], train.traits()["target_length"]) == (24, 12)
    assert train.traits()["vocabulary"] == train.tokenizer.size
    with pytest.raises(InputError, match=r"data\.length is unknown; nearest: "):
        datasets.load("glosses", "train", **options, length=3)
