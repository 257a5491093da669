"""Nucleus sampling's claims: how likely and how repetitive the texts of each strategy are."""

import functools
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from papers import trained
from papers.ledger import Claim
from papers.rules import Measurement, ordered, surely_at_most
from research.experiment import Experiment
from research.methods.decoders import decoder
from research.methods.language_model import LanguageModel
from research.networks.transformer import unrolled
from research.run import plain
from research.sampling import decoding
from research.training.optimizers import averaged
from research.training.state import TrainState

CONFIG = "configs/gpt.py:shakespeare_bpe"
COUNT = 64  # texts a seed and strategy
PROMPT, NEW = 32, 200  # tokens
STRATEGIES: dict[str, Mapping[str, Any]] = {
    "greedy": {"strategy": "greedy"},
    "beam_16": {"strategy": "beam", "beams": 16, "length_penalty": 0.0},
    "pure": {"strategy": "temperature"},
    "top_k_40": {"strategy": "top_k", "top_k": 40},
    "nucleus_95": {"strategy": "nucleus", "top_p": 0.95},
}
# Table 1: perplexity and per cent of texts that repeat.
FIGURES = {
    "human": (12.38, 0.28),
    "greedy": (1.50, 73.66),
    "beam_16": (1.48, 28.94),
    "pure": (22.73, 0.22),
    "top_k_40": (6.88, 0.78),
    "nucleus_95": (13.13, 0.36),
}
SAMPLED = ("nucleus_95", "pure", "top_k_40", "human")
MOST_REPEATED = 2.0  # per cent: the paper's sampled texts have 0.2 to 0.8


@functools.cache
def measure(seed: int) -> Measurement:
    """Of people's continuations of test plays and of each strategy's: perplexity, repetition.

    Perplexity is the model's own, of the whole distribution. `gap` is the distance of its logarithm
    to that of people.
    """
    experiment, state = model()
    prompts, human, nats = people(experiment, state, seed)
    texts, perplexities = {"human": human}, {"human": math.exp(nats)}
    method = experiment.method
    assert isinstance(method, LanguageModel)
    params = unrolled(averaged(state, "model"))
    for name, settings in STRATEGIES.items():
        given = decoder(method.network), params, prompts, jax.random.key(seed)
        found = decoding.generate(*given, new_tokens=NEW, **settings)
        texts[name] = found.tokens_BxN
        perplexities[name] = float(np.exp(-found.log_probs_BxN.mean()))
    measured = {f"perplexity_{name}": value for name, value in perplexities.items()}
    for name, rows in texts.items():
        measured[f"repetition_{name}"] = 100 * float(np.mean([repeats(row) for row in rows]))
    for name in STRATEGIES:
        measured[f"gap_{name}"] = abs(math.log(perplexities[name] / perplexities["human"]))
    return measured


def model() -> tuple[Experiment, TrainState]:
    """One model for all seeds, which draw prompts and texts."""
    return trained.trained(trained.config(CONFIG, save_every=250), "nucleus_sampling")


def people(
    experiment: Experiment, state: TrainState, seed: int
) -> tuple[list[list[int]], np.ndarray, float]:
    """COUNT prompts of the test plays, what follows them there, and its nats a token."""
    rows = experiment.test_data.arrays()
    whole = np.flatnonzero((rows["segments"][:, : PROMPT + NEW] == 1).all(axis=1))
    chosen = np.random.default_rng(seed).choice(whole, COUNT, replace=False)
    batch = {name: jnp.asarray(array[chosen][:, : PROMPT + NEW]) for name, array in rows.items()}
    method = experiment.method
    assert isinstance(method, LanguageModel)
    nats, _, _ = jax.jit(method.per_token)(averaged(state, "model"), batch)
    tokens = np.asarray(batch["tokens"])
    return tokens[:, :PROMPT].tolist(), tokens[:, PROMPT:], float(nats[:, PROMPT - 1 :].mean())


def repeats(tokens_N: np.ndarray) -> bool:
    """Whether a text ends with a phrase of two tokens or more, three times over (section 5.3)."""
    count = len(tokens_N)
    return any(
        np.array_equal(tokens_N[-size:], tokens_N[-2 * size : -size])
        and np.array_equal(tokens_N[-size:], tokens_N[-3 * size : -2 * size])
        for size in range(2, count // 3 + 1)
    )


PROTOCOL = (
    f"A transformer of 3 million parameters on 37 of Shakespeare's plays and poems; {COUNT} "
    f"prompts of {PROMPT} tokens out of plays held out, {NEW} tokens more by each strategy. One "
    "training; a seed is another draw. "
)
SETTINGS = {
    "config": plain(trained.config(CONFIG)),
    "count": COUNT,
    "lengths": (PROMPT, NEW),
    "strategies": STRATEGIES,
}
PERPLEXITY = [f"perplexity_{name}" for name in FIGURES]
REPETITION = [f"repetition_{name}" for name in FIGURES]

CLAIMS = [
    Claim(
        id="nucleus_sampling.likelihood",
        statement="What maximizes likelihood is far likelier than what people write; sampling from "
        "the k likeliest is too, and from the whole distribution less likely.",
        source="table 1, figure 2",
        figure="perplexity "
        + ", ".join(f"{name} {ppl:g}" for name, (ppl, _) in FIGURES.items())
        + " [V]",
        figures={name: ppl for name, (ppl, _) in FIGURES.items()},
        kind="direction",
        protocol=PROTOCOL + "Perplexity is the model's own.",
        measure=measure,
        rules=[
            ordered("perplexity_greedy", "perplexity_top_k_40", "perplexity_human"),
            ordered("perplexity_beam_16", "perplexity_top_k_40"),
            ordered("perplexity_human", "perplexity_pure"),
        ],
        seeds=5,
        ours=[name for name in PERPLEXITY if not name.endswith("human")],
        baseline=["perplexity_human"],
        settings=SETTINGS,
        version=2,
    ),
    Claim(
        id="nucleus_sampling.nearest",
        statement="Of all strategies nucleus sampling's perplexity is nearest to people's.",
        source="table 1",
        figure="13.13 beside 12.38; top-k 6.88, pure 22.73 [V]",
        kind="direction",
        protocol=PROTOCOL + "The distance of the logarithm of perplexity to people's.",
        measure=measure,
        rules=[
            ordered("gap_nucleus_95", other)
            for other in ("gap_pure", "gap_top_k_40", "gap_greedy", "gap_beam_16")
        ],
        seeds=5,
        ours=["gap_nucleus_95", "gap_pure", "gap_top_k_40"],
        baseline=["gap_greedy", "gap_beam_16"],
        settings=SETTINGS,
        version=2,
    ),
    Claim(
        id="nucleus_sampling.repetition",
        statement="Maximization repeats itself; people and sampling do not.",
        source="table 1",
        figure="per cent that repeat "
        + ", ".join(f"{name} {share:g}" for name, (_, share) in FIGURES.items())
        + " [V]",
        figures={name: share for name, (_, share) in FIGURES.items()},
        kind="direction",
        protocol=PROTOCOL + "A text repeats if it ends in a phrase of 2 tokens or more 3 times.",
        measure=measure,
        rules=[
            *(
                ordered(f"repetition_{sampled}", f"repetition_{maximal}")
                for sampled in SAMPLED
                for maximal in ("greedy", "beam_16")
            ),
            *(surely_at_most(f"repetition_{sampled}", MOST_REPEATED) for sampled in SAMPLED),
        ],
        seeds=5,
        ours=[name for name in REPETITION if not name.endswith("human")],
        baseline=["repetition_human"],
        settings=SETTINGS,
        version=2,
    ),
]
