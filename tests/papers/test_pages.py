"""The pages: the generated table is current, and every paper's page names what exists."""

import re

import pytest

from papers import ledger, table
from research.configuration import load_config

PAPERS = sorted({claim.paper for claim in ledger.claims()})


def test_the_generated_pages_are_current():
    for path, text in table.pages().items():
        assert path.read_text() == text, f"{path}: python -m launch.reproduce --write_table"


def test_a_block_that_the_readme_lacks_is_an_error():
    with pytest.raises(ValueError, match="no block named claims"):
        table.readme("no block here", {"claims": "| a |"})


@pytest.mark.parametrize("paper", PAPERS)
def test_a_page_names_a_config_that_exists_and_its_command(paper):
    page = (ledger.PAPERS_DIR / paper / "README.md").read_text()
    configs = re.findall(r"configs/\w+\.py:\w+", page)
    assert configs
    for name in configs:
        assert load_config(name).steps > 0
    assert f"python -m launch.reproduce --paper={paper}" in page


@pytest.mark.parametrize("paper", PAPERS)
def test_a_page_names_files_and_symbols_that_exist(paper):
    page = (ledger.PAPERS_DIR / paper / "README.md").read_text()
    named = re.findall(r"`((?:research|papers)/[\w/]+\.py)` `([\w.]+)`", page)
    assert named
    tree = ledger.PAPERS_DIR.parent
    for path, symbol in named:
        last = symbol.split(".")[-1]
        defined = re.compile(rf"^\s*(def|class) {last}\b|^\s*{last}\b.*=", re.MULTILINE)
        assert defined.search((tree / path).read_text()), f"{path} has no {symbol}"
