"""A file is rewritten whole, or stays what it was."""

import pathlib

import pytest

from papers import table
from research.errors import InputError
from research.files import held, write_text
from research.training.logs import JsonlWriter
from research.training.manifest import write_json

LINES = '{"step": 1}\n{"step": 2}\n'


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda path: write_text(path, "new"),
        lambda path: write_json(path, {"new": 1}),
        lambda path: JsonlWriter(path, start=1),
        lambda path: table.write(),
    ],
    ids=["text", "json", "metrics", "pages"],
)
def test_what_a_full_disk_interrupts_stays_as_it_was(tmp_path, monkeypatch, rewrite):
    def half(path, text, **options):
        with path.open("w") as file:
            file.write(text[: len(text) // 2])
        raise OSError("full")

    path = tmp_path / "file"
    path.write_text(LINES)
    monkeypatch.setattr(table, "pages", lambda: {path: "new"})
    monkeypatch.setattr(pathlib.Path, "write_text", half)
    with pytest.raises(OSError, match="full"):
        rewrite(path)
    assert path.read_text() == LINES
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_of_one_file_do_not_meet(tmp_path, monkeypatch):
    """Each has a temporary name of its own: none replaces the file by the other's half."""
    path, names = tmp_path / "file.json", []
    replace = pathlib.Path.replace
    monkeypatch.setattr(
        pathlib.Path, "replace", lambda self, to: (names.append(self), replace(self, to))
    )
    write_json(path, 1)
    write_json(path, 2)
    assert len(set(names)) == 2 and {name.parent for name in names} == {tmp_path}


def test_a_folder_is_held_until_its_holder_ends(tmp_path):
    with held(tmp_path / "run"):
        assert (tmp_path / "run").is_dir()
        with pytest.raises(InputError, match="another process works"), held(tmp_path / "run"):
            pass
    with held(tmp_path / "run"):
        pass
