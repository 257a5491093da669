"""The command of the claims: it lists them, and names what is near a wrong name."""

import json
import subprocess
import sys

import pytest
from absl import flags
from absl.testing import flagsaver

from launch import reproduce
from papers import ledger, table


def run(*arguments):
    command = [sys.executable, "-m", "launch.reproduce", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_the_list_has_every_claim():
    done = run("--list", "--json")
    rows = {row["claim"]: row for row in json.loads(done.stdout)}
    assert rows.keys() == {claim.id for claim in ledger.claims()}
    row = rows["ddpm.cifar10"]
    assert row["verdict"] == "NOT RUN" and row["reason"] and row["figures"] == {"fid": 3.17}
    assert {"figure", "ours", "seeds", "baseline", "measured"} <= row.keys()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--paper=ddmp"], "no paper 'ddmp'; nearest: ddpm"),
        (["--paper=ddim", "--claim=ddim.few_step"], "no claim 'ddim.few_step'; nearest: ddim.few"),
        (["--paper="], "no paper ''; allowed: attention_is_all_you_need, bert"),
        (["--list", "--seeds=9"], "--list takes no --seeds"),
        (["--write_table", "--paper=ddim", "--json"], "--write_table takes no --paper, --json"),
        ([], "give --list, or --paper with one of attention_is_all_you_need, bert"),
    ],
)
def test_a_wrong_name_is_answered_in_one_line(arguments, message):
    done = run(*arguments)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert message in done.stderr.strip().splitlines()[-1]


def test_what_a_stopped_measurement_kept_is_on_the_pages(monkeypatch):
    def stopped(claim, seeds):
        done.append("a seed kept")
        raise KeyboardInterrupt

    done = []
    monkeypatch.setattr(ledger, "measure", stopped)
    monkeypatch.setattr(table, "write", lambda: done.append("pages"))
    with flagsaver.flagsaver(paper="ddim"), pytest.raises(KeyboardInterrupt):
        flags.FLAGS.mark_as_parsed()
        reproduce.main([])
    flags.FLAGS.unparse_flags()
    assert done == ["a seed kept", "pages"]
