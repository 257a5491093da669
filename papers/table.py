"""The table of claims: the rows that commands print, and papers/README.md made of them."""

import math
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from papers import ledger
from papers.ledger import Claim
from papers.rules import estimate
from research.files import turn, write_text
from research.scores.table import read_scores, read_test_metrics

# Models whose samples stand beside a paper's page, as PAPER/NAME.png and PAPER/NAME_scores.json.
GALLERY = {
    "ddpm/mnist": "`configs/ddpm.py:mnist`, an hour",
    "gan/mnist": "`configs/gan.py:mnist`, 20 minutes",
}
# Painters of unseen targets, as PAPER/NAME.gif and PAPER/NAME_scores.json.
PAINTERS = {
    "ppo/canvas": "`configs/ppo.py:canvas`, 2 minutes",
    "ppo/emoji": "`configs/ppo.py:emoji`, 8 minutes",
}
VERDICTS = ("REPRODUCED", "DIRECTION HOLDS", "FAILED", "NOT RUN")

HEADER = """# Claims, measured

A claim is a sentence of a paper; its rule is code (`papers/PAPER/claims.py`), and this page is
generated: `python -m launch.reproduce --paper=PAPER` measures and rewrites it,
`python -m launch.reproduce --write_table` only rewrites it.

- REPRODUCED: the paper's protocol, inside its figure ± 2 standard errors and no more than a
  quarter of it off (a loss: at most so much above it), or an identity inside its stated tolerance;
  and what orders and bounds the claim has beside.
- DIRECTION HOLDS: the protocol is shrunk, or the bounds are ours; every rule of the claim holds: an
  order with 95% intervals that do not overlap, a value inside its tolerance, or a bound that each
  seed keeps, or their mean with 2 standard errors against it.
- FAILED and NOT RUN say why.

± is the half-width of the 95% t-interval over seeds, 4.3 standard errors of three; rules of a mean
use 2 standard errors, whatever the number of seeds. [V]: the paper's figure was read in its text,
table or repository; [M]: from memory. A distance in other features than Inception's is not an FID.
A page's times are of cores with nothing beside, unless it says otherwise; `seconds` in results.json
are often of busy ones. Where a trained model was read back from runs/papers, `seconds`, date and
commit there are of reading it: what trained it stands in its folder's manifest.json.
"""


def row(claim: Claim) -> dict[str, Any]:
    """A claim with what was measured of it, ready for JSON."""
    measurements = ledger.measurements(claim)
    verdict = ledger.judge(claim, measurements)
    times = [record["measured"] for record in ledger.records(claim).values()]
    return {
        "claim": claim.id,
        "statement": claim.statement,
        "source": claim.source,
        "paper": claim.paper,
        "figure": claim.figure,
        "figures": dict(claim.figures),
        "kind": claim.kind,
        "protocol": claim.protocol,
        "ours": _estimates(measurements, claim.ours),
        "baseline": _estimates(measurements, claim.baseline),
        "seeds": len(measurements),
        "verdict": verdict.name,
        "reason": verdict.reason,
        "measured": max(times, default=None),
    }


def _estimates(measurements: Sequence[Any], names: Iterable[str]) -> dict[str, Any]:
    """Mean and spread by name; the spread is None for a single seed."""
    if not measurements:
        return {}
    found = {name: estimate(measurements, name) for name in names}
    return {
        name: {
            "mean": value.mean,
            "half_width": value.half_width if math.isfinite(value.half_width) else None,
            "shown": str(value),
        }
        for name, value in found.items()
    }


def text(rows: Sequence[dict[str, Any]]) -> str:
    """A few lines a claim for the terminal."""
    blocks = []
    for r in rows:
        when = f"{_seeds(r)}, {r['measured']}" if r["measured"] else "not measured"
        lines = [
            f"{r['claim']}: {r['verdict']}  ({when})",
            f"  claim     {r['statement']}",
            f"  paper     {r['figure']} ({r['source']})",
            f"  ours      {_shown(r['ours'])}",
            f"  baseline  {_shown(r['baseline'])}",
            f"  why       {r['reason']}",
        ]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """papers/README.md: the verdict words and one table a paper."""
    parts = [HEADER]
    for paper in dict.fromkeys(r["paper"] for r in rows):
        parts += [
            f"## [{paper}]({paper}/README.md)\n",
            "| claim | the paper's figure | ours | baseline | seeds | verdict | measured |",
            "| --- | --- | --- | --- | --- | --- | --- |",
            *[_line(r) for r in rows if r["paper"] == paper],
            "",
        ]
    return "\n".join(parts)


def _line(r: dict[str, Any]) -> str:
    cells = [
        f"`{r['claim']}` {r['statement']}",
        f"{r['figure']} ({r['source']})",
        _shown(r["ours"]),
        _shown(r["baseline"]),
        str(r["seeds"]),
        f"**{r['verdict']}**: {r['reason']}",
        (r["measured"] or "—")[:10],
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _shown(estimates: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value['shown']}" for name, value in estimates.items()) or "—"


def _seeds(r: dict[str, Any]) -> str:
    return f"{r['seeds']} seed{'' if r['seeds'] == 1 else 's'}"


def summary(rows: Sequence[dict[str, Any]]) -> str:
    """How many claims of each paper have each verdict."""
    lines = [
        f"| paper | {' | '.join(VERDICTS)} |",
        f"| --- |{' --- |' * len(VERDICTS)}",
    ]
    for paper in dict.fromkeys(r["paper"] for r in rows):
        verdicts = [r["verdict"] for r in rows if r["paper"] == paper]
        counts = " | ".join(str(verdicts.count(verdict) or "") for verdict in VERDICTS)
        lines.append(f"| [{paper}](papers/{paper}/README.md) | {counts} |")
    return "\n".join(lines)


def scores_table(path: pathlib.Path) -> str:
    """A run's scores.json as Markdown: ours, the floor and the baselines."""
    scores = read_scores(path)
    baselines = list(scores[0].baselines)
    named = " | ".join(name.replace("_", " ") for name in baselines)
    lines = [
        f"| metric | better | ours | real test data | {named} |",
        f"| --- | --- | --- | --- |{' --- |' * len(baselines)}",
    ]
    for score in scores:
        values = (score.value, score.floor, *(score.baselines[name] for name in baselines))
        shown = " | ".join(f"{value:.3g}" for value in values)
        lines.append(f"| `{score.metric}` | {score.better} | {shown} |")
    return "\n".join(lines)


def gallery() -> str:
    """A row a model of `GALLERY`: its samples, and its Frechet distance beside real data's."""
    lines = [
        "| samples | made by, on one CPU core | metric | ours | real test data | trivial models |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, made_by in GALLERY.items():
        frechet = read_scores(ledger.PAPERS_DIR / f"{name}_scores.json")[0]
        trivial = ", ".join(
            f"{named.replace('_', ' ')} {x:.3g}" for named, x in frechet.baselines.items()
        )
        lines.append(
            f"| ![samples](papers/{name}.png) | {made_by} | `{frechet.metric}` "
            f"| {frechet.value:.3g} | {frechet.floor:.3g} | {trivial} |"
        )
    return "\n".join(lines)


def painters() -> str:
    """A row a painter of `PAINTERS`: its paintings, and its return beside what else has one."""
    others = ("random", "random_search", "best_of_8_search", "perfect")
    lines = [
        "| canvas and target | made by, on one CPU core | return | random strokes "
        "| greedy random search | best of 8 a stroke | the target itself |",
        f"| --- | --- | --- |{' --- |' * len(others)}",
    ]
    for name, made_by in PAINTERS.items():
        found = read_test_metrics(ledger.PAPERS_DIR / f"{name}_scores.json")
        ours = f"{found['return'].mean:.3f} ± {found['return'].standard_error:.3f}"
        cells = (ours, *(f"{found[f'{other}_return'].mean:.3f}" for other in others))
        lines.append(f"| ![paintings](papers/{name}.gif) | {made_by} | {' | '.join(cells)} |")
    return "\n".join(lines)


def readme(text: str, blocks: Mapping[str, str]) -> str:
    """README.md with each block between `<!-- NAME: ... -->` and `<!-- /NAME -->` made anew."""
    for name, block in blocks.items():
        start, end = re.search(rf"<!-- {name}: .*-->\n", text), text.find(f"<!-- /{name} -->")
        if start is None or end < 0:
            raise ValueError(f"README.md has no block named {name}")
        text = f"{text[: start.end()]}{block}\n{text[end:]}"
    return text


def pages() -> dict[pathlib.Path, str]:
    """What the generated pages should hold, by path: papers/README.md and README.md's blocks."""
    rows = [row(claim) for claim in ledger.claims()]
    front = ledger.PAPERS_DIR.parent / "README.md"
    blocks = {
        "claims": summary(rows),
        "gallery": gallery(),
        "painters": painters(),
        "scores": scores_table(ledger.PAPERS_DIR / "ddpm" / "digits_scores.json"),
    }
    return {
        ledger.PAPERS_DIR / "README.md": markdown(rows),
        front: readme(front.read_text(), blocks),
    }


def write() -> None:
    """Rewrites the generated pages from the claims and what is kept of them."""
    with turn(ledger.PAPERS_DIR):
        for path, text in pages().items():
            write_text(path, text)
