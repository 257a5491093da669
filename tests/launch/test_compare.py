"""The comparison with peers: they take turns, and a peer that dies says so."""

import importlib
import pathlib
import subprocess
import sys

import pytest

from launch.peers import nanogpt_char, process
from research.configuration import TREE
from research.errors import InputError

PEERS = sorted(path.stem for path in TREE.glob("launch/peers/[a-z]*_*.py"))
SLEEPER = (
    "import time; from launch.peers.protocol import serve; serve(lambda n: time.sleep(n / 50))"
)


def peer(code):
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=TREE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_peer_answers_with_the_seconds_of_its_steps():
    sleeper = peer(SLEEPER)
    assert 0.2 <= process.stretch(sleeper, 10) < process.stretch(sleeper, 30)
    sleeper.kill()


def test_a_peer_that_ended_is_an_error():
    with pytest.raises(InputError, match="ended with exit code 3"):
        process.stretch(peer("import sys; sys.stdin.readline(); sys.exit(3)"), 10)


def test_a_peer_that_ended_before_it_was_asked_is_an_error():
    gone = peer("import sys; sys.exit(3)")
    gone.wait()
    with pytest.raises(InputError, match="ended with exit code 3"):
        process.stretch(gone, 10)


def test_a_peers_pipes_are_closed_though_it_never_read(monkeypatch, tmp_path):
    """Or Python tells of a broken one when all is over."""
    monkeypatch.setattr(process, "environment", lambda requirements: pathlib.Path(sys.prefix))
    with pytest.raises(InputError, match="ended with"), process.started("this", (), tmp_path) as it:
        it.wait()
        process.stretch(it, 10)
    assert it.stdin.closed and it.stdout.closed


@pytest.mark.parametrize("name", PEERS)
def test_a_page_pins_what_it_needs_and_names_a_config_that_exists(name):
    page = importlib.import_module(f"launch.peers.{name}")
    assert all("==" in requirement for requirement in page.REQUIREMENTS)
    path, variant = page.CONFIG.split(":")
    assert f'"{variant}"' in (TREE / path).read_text()
    assert page.STEPS > 0 and page.UNITS_PER_STEP > 0


def test_nanogpts_rate_stays_the_last_after_its_steps():
    rates = [nanogpt_char.rate(step) for step in (100, 2000, 3000)]
    assert rates == pytest.approx([1e-3, 1e-4, 1e-4])
