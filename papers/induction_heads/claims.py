"""The induction heads' claims: two layers make them, and learn from the context by them."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from papers import trained
from papers.induction_heads import heads
from papers.ledger import Claim
from papers.rules import Measurement, ordered, violated
from research.data.repeated_letters import ALPHABET
from research.methods.language_model import LanguageModel
from research.run import plain

VARIANTS = {1: "one_layer", 2: "two_layers"}
LETTERS = 25


def config(layers: int, seed: int = 0) -> ConfigDict:
    return trained.config(f"configs/induction_heads.py:{VARIANTS[layers]}", seed=seed)


@functools.cache
def measured(layers: int, seed: int) -> Measurement:
    """The best head's score, and nats of the last repetition less those of the first saying."""
    experiment, state = trained.trained(config(layers, seed), f"{VARIANTS[layers]}-seed{seed}")
    method = experiment.method
    assert isinstance(method, LanguageModel)
    rows = {field: jnp.asarray(x) for field, x in experiment.test_data.arrays().items()}
    params = state.params["model"]
    weights = jax.jit(functools.partial(heads.attention_weights, method.network))
    of_parts = [
        heads.matching_by_distance(weights(params, tokens), LETTERS) for tokens in parts(rows)
    ]
    best_D = np.mean(of_parts, axis=0).max(axis=(1, 2))
    nats, _, _ = jax.jit(method.per_token)(params, rows)
    return {
        "matching": float(best_D[0]),
        "any_distance": float(best_D.max()),
        "distance": float(best_D.argmax() + 1),
        "score": in_context_score(np.asarray(nats)),
    }


def parts(rows: dict[str, Any]) -> list[Any]:
    """The tokens, less the last of each row, which is no query, in parts of 100 rows."""
    tokens = rows["tokens"][:, :-1]
    return [tokens[start : start + 100] for start in range(0, len(tokens), 100)]


def in_context_score(nats: np.ndarray) -> float:
    """Of tokens 75 to 99 less of 1 to 24: token 0 is not predicted, and nats[:, t] is of t + 1."""
    return float(nats[:, 3 * LETTERS - 1 : 4 * LETTERS - 1].mean() - nats[:, : LETTERS - 1].mean())


def measure_heads(seed: int) -> Measurement:
    """Prefix-matching scores of the best head with one and with two layers, and of no choice."""
    return {
        "two_layers": measured(2, seed)["matching"],
        "two_layers_any_distance": measured(2, seed)["any_distance"],
        "two_layers_distance": measured(2, seed)["distance"],
        "one_layer": measured(1, seed)["matching"],
        "one_layer_any_distance": measured(1, seed)["any_distance"],
        "uniform": heads.uniform_prefix_matching(4 * LETTERS, LETTERS),
    }


def measure_context(seed: int) -> Measurement:
    """Scores of both; and of who knows which letters there are, but not which follows."""
    return {
        "two_layers": measured(2, seed)["score"],
        "one_layer": measured(1, seed)["score"],
        "letters_alone": math.log(LETTERS) - math.log(len(ALPHABET)),
    }


PROTOCOL = (
    "decoders of width 64 with 4 heads and relative positions, 1250 steps of 64 rows of 5 to 25 "
    "random letters of 26 that repeat; measured on 500 rows of 25 letters said 4 times. "
)
SETTINGS = {"one_layer": plain(config(1)), "two_layers": plain(config(2))}

CLAIMS = [
    Claim(
        id="induction_heads.prefix_matching",
        statement="Induction heads form in models of two layers, and not of one.",
        source="2209.11895, argument 1",
        figure="the score is of 25 random tokens repeated 4 times [V]",
        kind="direction",
        protocol=PROTOCOL + "The best head's mean weight on what followed its token before; beside "
        "it a head that looks at all alike. _any_distance is the most weight on what came any one "
        "distance after, and _distance how far that is.",
        measure=measure_heads,
        seeds=3,
        rules=[ordered("one_layer", "two_layers"), violated("two_layers", least=0.5)],
        ours=["two_layers", "two_layers_any_distance", "two_layers_distance"],
        baseline=["one_layer", "one_layer_any_distance", "uniform"],
        settings=SETTINGS,
        version=2,
    ),
    Claim(
        id="induction_heads.in_context_score",
        statement="Two layers learn from their context, more than one.",
        source="2209.11895, argument 1",
        figure="loss(500) - loss(50): under 0.15 nats before they form, about 0.4 after, except "
        "with 1 layer [V]",
        figures={"before": 0.15, "after": 0.4},
        kind="direction",
        protocol=PROTOCOL
        + "Nats of the fourth saying less of the first; beside it who knows the 25 "
        "letters and guesses among them: ln 25 - ln 26.",
        measure=measure_context,
        seeds=3,
        rules=[ordered("two_layers", "one_layer"), ordered("two_layers", "letters_alone")],
        ours=["two_layers"],
        baseline=["one_layer", "letters_alone"],
        settings=SETTINGS,
    ),
]
