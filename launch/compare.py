"""Times training here, or writing text, against a peer's, by turns in one run.

python -m launch.compare --peer=NAME [--rounds=7] [--json]

A peer is a page of launch/peers/: what it needs, which config of ours is the same, and its own work
in its best common setting, on this machine's CPU. It runs in a virtual environment of its own, kept
in the cache.
"""

import importlib
import json
import pathlib
import statistics
import tempfile
from typing import Any

import jax
import numpy as np
from absl import flags

from launch import command
from launch.peers import process
from research.configuration import load_config
from research.errors import InputError, check_choice

PEERS = pathlib.Path(__file__).parent / "peers"

PEER = flags.DEFINE_string("peer", None, "The page of launch/peers/.", required=True)
ROUNDS = flags.DEFINE_integer("rounds", 7, "Turns of each; medians are reported.", lower_bound=5)
JSON = flags.DEFINE_bool("json", False, "Print one JSON object.")


def main(argv: list[str]) -> None:
    if jax.default_backend() != "cpu":
        raise InputError("peers run on the CPU, so ours must too: set JAX_PLATFORMS=cpu")
    allowed = sorted(path.stem for path in PEERS.glob("[a-z]*_*.py"))
    check_choice("peer", PEER.value, allowed)
    measured = compare(PEER.value, rounds=ROUNDS.value)
    lines = [f"{name}: {value}" for name, value in measured.items()]
    print(json.dumps(measured) if JSON.value else "\n".join(lines))


def compare(name: str, *, rounds: int) -> dict[str, Any]:
    """Rates of ours and the peer's by turns of as many steps, and `ratio`, ours over theirs."""
    from launch.peers.writing import writing
    from research.experiment import build

    page = importlib.import_module(f"launch.peers.{name}")
    work = {"train": training, "write": writing}[page.WORK]
    ours, theirs, further = work(page, build(load_config(page.CONFIG)), rounds=rounds)
    units = page.STEPS * page.UNITS_PER_STEP
    rates = {"ours": [units / s for s in ours], "theirs": [units / s for s in theirs]}
    median = {side: statistics.median(rate) for side, rate in rates.items()}
    spread = {f"{side}_range": [min(rate), max(rate)] for side, rate in rates.items()}
    return {
        "peer": list(page.REQUIREMENTS),
        "config": page.CONFIG,
        "unit": f"{page.UNIT} a second",
        "ratio": median["ours"] / median["theirs"],
        **median,
        **spread,
        **further,
        "rounds": rounds,
        "device": jax.devices()[0].device_kind,
    }


def training(page: Any, experiment: Any, *, rounds: int) -> tuple[list[float], list[float], dict]:
    """Training by turns; where the page names a METRIC, also both sides' on the test data after."""
    from launch.turns import by_turns
    from research.run import metrics_on_test

    metric = getattr(page, "METRIC", None)
    with tempfile.TemporaryDirectory() as directory:
        data = pathlib.Path(directory) / "data.npz"
        np.savez(data, allow_pickle=False, **arrays(experiment))
        with process.started(page.__name__, page.REQUIREMENTS, data) as peer:
            turns = by_turns(
                experiment,
                lambda: process.stretch(peer, page.STEPS),
                steps=page.STEPS,
                rounds=rounds,
                log_every=page.STEPS,
            )
            further = {}
            if metric:
                ours = metrics_on_test(experiment, turns.state)[metric].mean
                steps = int(turns.state.step)
                further = {metric: {"ours": ours, "theirs": process.score(peer), "steps": steps}}
    return turns.looped, turns.others, further


def arrays(experiment: Any) -> dict[str, np.ndarray]:
    """What a peer trains on. Windows of a text are its stream, of which they are views."""
    train, test = (data.arrays() for data in (experiment.train_data, experiment.test_data))
    if "tokens" not in train:
        return train
    return {"stream": train["tokens"][:, 0], "test": test["tokens"]}


if __name__ == "__main__":
    command.run(main)
