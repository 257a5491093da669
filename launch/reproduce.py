"""Reproduces a paper's claims and prints the verdicts.

python -m launch.reproduce --paper=ddim [--claim=ddim.few_steps] [--seeds=N]
python -m launch.reproduce --list [--json]

Each seed is kept in papers/PAPER/results.json as soon as it is measured: the same command goes on
where it was stopped, and measures anew what the claim has changed since; without that file, and the
trained models in runs/papers, all of it. papers/README.md and the README's tables are rewritten
after each claim; --write_table does only that.
"""

import json
from typing import Any

from absl import flags

from launch import command
from research.errors import InputError, nearest

PAPER = flags.DEFINE_string("paper", None, "The paper whose claims are measured.")
CLAIM = flags.DEFINE_string("claim", None, "Only this claim of it.")
SEEDS = flags.DEFINE_integer("seeds", None, "Seeds; each claim's own by default.", lower_bound=1)
LIST = flags.DEFINE_bool("list", False, "Print every claim and what was measured; measure nothing.")
JSON = flags.DEFINE_bool("json", False, "Print as JSON.")
WRITE_TABLE = flags.DEFINE_bool("write_table", False, "Only rewrite the generated tables.")


def main(argv: list[str]) -> None:
    from papers import ledger, table

    meant = ((PAPER, True), (CLAIM, True), (SEEDS, not LIST.value), (LIST, True), (JSON, True))
    idle = [f.name for f, is_meant in meant if f.present and (WRITE_TABLE.value or not is_meant)]
    if idle:
        doing = "--write_table" if WRITE_TABLE.value else "--list"
        raise InputError(f"{doing} takes no --{', --'.join(idle)}")
    if WRITE_TABLE.value:
        table.write()
        return
    if PAPER.value is None and not LIST.value:
        papers = sorted({claim.paper for claim in ledger.claims()})
        raise InputError(f"give --list, or --paper with one of {', '.join(papers)}")
    chosen = choose(ledger.claims(None if PAPER.value is None else [PAPER.value]), CLAIM.value)
    if not LIST.value:
        for claim in chosen:
            try:
                ledger.measure(claim, SEEDS.value)
            finally:  # a measurement that is stopped has kept its seeds
                table.write()
    rows = [table.row(claim) for claim in chosen]
    print(json.dumps(rows, indent=2) if JSON.value else table.text(rows))


def choose(claims: list[Any], claim_id: str | None) -> list[Any]:
    """The claim of that id alone, or all of them without one.

    Raises:
      InputError: none of them has it; the nearest ids are named.
    """
    if claim_id is None:
        return claims
    found = [claim for claim in claims if claim.id == claim_id]
    if not found:
        raise InputError(f"no claim {claim_id!r}; {nearest(claim_id, [c.id for c in claims])}")
    return found


if __name__ == "__main__":
    command.run(main)
