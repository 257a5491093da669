"""The claim ledger: a claim, its verdict, and its measurements, kept seed by seed."""

import dataclasses
import datetime
import hashlib
import importlib
import json
import pathlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax

from papers.rules import Measurement, Rule
from research.errors import check_choice
from research.files import turn
from research.training.manifest import git_state, read_json, write_json

PAPERS_DIR = pathlib.Path(__file__).parent

Kind = Literal["exact", "direction", "accelerator"]


@dataclasses.dataclass(frozen=True)
class Claim:
    """A sentence of a paper that a command can test.

    `kind` 'exact' follows the paper's whole protocol or states an identity, 'direction' shrinks the
    protocol, or tests by orders, bounds and tolerances of our own, 'accelerator' is beyond a CPU.
    `figure` is what the paper says, tagged [V] (read in its text or repository) or [M] (from
    memory); `figures` are its numbers. `measure(seed)` gives named numbers, of which `ours` and
    `baseline` are shown; without it `not_run` says why. Raising `version` or changing `settings`
    makes old measurements void.
    """

    id: str
    statement: str
    source: str
    figure: str
    kind: Kind
    protocol: str
    figures: Mapping[str, float] = dataclasses.field(default_factory=dict)
    measure: Callable[[int], Measurement] | None = None
    not_run: str = ""
    rules: Sequence[Rule] = ()
    seeds: int = 3
    ours: Sequence[str] = ()
    baseline: Sequence[str] = ()
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    version: int = 1

    @property
    def paper(self) -> str:
        return self.id.split(".")[0]

    @property
    def fingerprint(self) -> str:
        """Changes with what is measured: the version and the settings."""
        described = json.dumps([self.version, self.settings], sort_keys=True)
        return hashlib.sha256(described.encode()).hexdigest()[:16]


class Verdict(NamedTuple):
    """REPRODUCED, DIRECTION HOLDS, FAILED or NOT RUN, and why."""

    name: str
    reason: str


def judge(claim: Claim, measurements: Sequence[Measurement]) -> Verdict:
    """The verdict on measurements of one seed each: every one of the claim's rules must hold."""
    if claim.measure is None:
        return Verdict("NOT RUN", claim.not_run)
    if len(measurements) < claim.seeds:
        return Verdict("NOT RUN", f"{len(measurements)} of {claim.seeds} seeds measured")
    findings = [rule(measurements) for rule in claim.rules]
    broken = [finding.reason for finding in findings if not finding.holds]
    if broken or not findings:
        return Verdict("FAILED", "; ".join(broken) or "no rule")
    name = "REPRODUCED" if claim.kind == "exact" else "DIRECTION HOLDS"
    return Verdict(name, "; ".join(finding.reason for finding in findings))


def claims(papers: Iterable[str] | None = None) -> list[Claim]:
    """The claims of the given papers, by default of all.

    Raises:
      InputError: there is no such paper.
    """
    allowed = sorted(path.parent.name for path in pathlib.Path(__file__).parent.glob("*/claims.py"))
    found: list[Claim] = []
    for paper in allowed if papers is None else papers:
        check_choice("paper", paper, allowed)
        found += importlib.import_module(f"papers.{paper}.claims").CLAIMS
    return found


def measure(claim: Claim, seeds: int | None = None) -> None:
    """Measures what is missing of the first `seeds` seeds (the claim's own number by default).

    Each seed is kept in results.json as soon as it is done, with the time, commit and device: of
    this, even where models are read back that earlier code trained (their manifests tell by which).
    """
    git = git_state()
    if claim.measure is not None:
        for seed in range(claim.seeds if seeds is None else seeds):
            if str(seed) not in records(claim):
                start = time.perf_counter()
                values = {name: float(value) for name, value in claim.measure(seed).items()}
                keep(claim, seed, values, seconds=time.perf_counter() - start, git=git)
    save(claim, {})


def keep(
    claim: Claim, seed: int, values: Measurement, *, seconds: float, git: Mapping[str, Any]
) -> None:
    """Writes one seed's measurement, by the code of `git`, beside the others."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    record = {
        "values": values,
        "measured": now,
        "seconds": round(seconds, 1),
        "device": jax.devices()[0].device_kind,
        "git": git,
    }
    save(claim, {str(seed): record})


def save(claim: Claim, measured: Mapping[str, Any]) -> None:
    """Adds seeds to a claim's entry of results.json, and writes the verdict on all it keeps.

    Others may add theirs at the same time: claims of a paper share the file.
    """
    path = results_path(claim.paper)
    with turn(path.parent):
        kept = {**records(claim), **measured}
        verdict = judge(claim, [record["values"] for record in kept.values()])
        entry = {"fingerprint": claim.fingerprint, "seeds": kept, **verdict._asdict()}
        write_json(path, results(claim.paper) | {claim.id: entry})


def records(claim: Claim) -> dict[str, Any]:
    """What is kept of a claim, by seed; nothing if its version or settings were others."""
    entry = results(claim.paper).get(claim.id)
    return entry["seeds"] if entry and entry["fingerprint"] == claim.fingerprint else {}


def measurements(claim: Claim) -> list[Measurement]:
    """The measured values kept of a claim, one for each seed."""
    return [record["values"] for record in records(claim).values()]


def results(paper: str) -> dict[str, Any]:
    """The content of the paper's results.json by claim, empty before the first measurement.

    Raises:
      InputError: the file is damaged.
    """
    path = results_path(paper)
    return read_json(path) if path.exists() else {}


def results_path(paper: str) -> pathlib.Path:
    return PAPERS_DIR / paper / "results.json"
