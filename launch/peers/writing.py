"""Language models of ours and of a peer that write by turns."""

import pathlib
import tempfile
import time
from typing import Any

import jax

from launch.peers import process
from research.methods.decoders import decoder
from research.sampling import decoding


def writing(page: Any, experiment: Any, *, rounds: int) -> tuple[list[float], list[float], dict]:
    """Greedy continuations of one prompt a row, by fresh weights: time depends on shapes alone."""
    state = experiment.method.init(jax.random.key(0), experiment.example())
    network, params = decoder(experiment.method.network), state.params["model"]
    prompts = [list(range(page.PROMPT))] * page.UNITS_PER_STEP

    def ours() -> float:
        start = time.perf_counter()
        decoding.generate(
            network, params, prompts, jax.random.key(0), new_tokens=page.STEPS, strategy="greedy"
        )
        return time.perf_counter() - start

    with (
        tempfile.TemporaryDirectory() as directory,
        process.started(page.__name__, page.REQUIREMENTS, pathlib.Path(directory)) as peer,
    ):
        turns = [(ours(), process.stretch(peer, page.STEPS)) for _ in range(rounds + 1)][1:]
    looped, others = (list(side) for side in zip(*turns, strict=True))
    return looped, others, {}
