"""Descriptions of Debian's packages, of the index that apt keeps: the one source with no version.

An archive's index changes from day to day, so no hash pins it: what was got at the first use stays
in the cache, and its fingerprint in a run's manifest says which it was. Delete it to renew it.
"""

import json
import os
import pathlib
import tempfile
from collections.abc import Iterator, Mapping

from research.data import sources
from research.errors import InputError

SHORTEST = 200  # characters: below, a long description tells little more than the short one


def descriptions() -> list[tuple[str, str, str]]:
    """(source package, long description, short description) of each package of the main archive.

    Those with a long one of `SHORTEST` characters or more; a pair that stands in the index many
    times comes once, under the first of its source packages by name.

    Raises:
      InputError: there is no apt, it reaches no archive, or the cache cannot be written.
    """
    folder = sources.cache_dir() / "sources" / "debian-descriptions"
    path = sources.install(folder, _bring) / "descriptions.json"
    return [tuple(row) for row in json.loads(path.read_text(encoding="utf-8"))]


def _bring(folder: pathlib.Path) -> None:
    with tempfile.TemporaryDirectory() as state:
        lists = _update(pathlib.Path(state))
        # The others have updates: few packages, most of them there too.
        index = _largest(lists, "*_main_i18n_Translation-en")
        packages = _largest(lists, "*_main_binary-*_Packages")
    rows = parse(index, packages)
    (folder / "descriptions.json").write_text(json.dumps(rows), encoding="utf-8")


def _update(state: pathlib.Path) -> pathlib.Path:
    """A folder of the indices, as apt gets them by its own settings, apart from the machine's."""
    options = {
        "Dir::State": state,
        "Dir::State::status": os.devnull,
        "Dir::Cache": state,
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "en",
        "Acquire::GzipIndexes": "false",
    }
    settings = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    sources.run(
        ["apt-get", *settings, "--error-on=any", "--quiet", "update"],
        folder=state,
        wanted="Debian's package descriptions",
    )
    return state / "lists"


def _largest(lists: pathlib.Path, pattern: str) -> str:
    found = sorted(lists.glob(pattern), key=lambda path: path.stat().st_size)
    if not found:
        raise InputError(f"apt's indices have no {pattern}; {sources.WITHOUT_NETWORK}")
    return found[-1].read_text(encoding="utf-8")


def parse(index: str, packages: str) -> list[tuple[str, str, str]]:
    """The rows of `descriptions`, of a Translation-en and a Packages file, sorted."""
    source_of = {}
    for entry in _entries(packages):
        # `Source: name (version)` where it differs from the package's own name.
        source_of[entry["Package"]] = entry.get("Source", entry["Package"]).split()[0]
    rows: dict[tuple[str, str], str] = {}
    for entry in _entries(index):
        short, _, rest = entry["Description-en"].partition("\n")
        # A dot alone is an empty line.
        long = "\n".join("" if line == "." else line for line in rest.split("\n"))
        source = source_of.get(entry["Package"], entry["Package"])
        if len(long) >= SHORTEST:
            rows[long, short] = min(source, rows.get((long, short), source))
    return sorted((source, long, short) for (long, short), source in rows.items())


def _entries(text: str) -> Iterator[Mapping[str, str]]:
    """The paragraphs of a control file, each field with its continued lines."""
    for paragraph in text.split("\n\n"):
        if paragraph.strip():
            fields = paragraph.strip("\n").replace("\n ", "\0").split("\n")
            pairs = (field.partition(": ")[::2] for field in fields)
            yield {name: value.replace("\0", "\n") for name, value in pairs}
