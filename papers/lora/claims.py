"""LoRA's claims: merged weights, how few are learned, and what is lost beside full fine-tuning."""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from papers import trained
from papers.ledger import Claim
from papers.rules import Measurement, at_most, identity, ordered, surely_at_most, violated
from research.data.examples import InMemory
from research.evaluation.classification import classification
from research.methods.lora import count, merge, split
from research.run import draw, plain

WIDTH, RANK, ALPHA = 64, 4, 8.0  # of the merged layers
STEPS, BATCH, TESTED = 300, 16, 2000
VARIANTS = {
    "full": "gloss_categories",
    "lora": "gloss_categories_lora",
    "probe": "gloss_categories_probe",
}


class Model(NamedTuple):
    """A model of table 2 or 4, its rank, and the paper's number of learned parameters."""

    layers: int
    width: int
    rank: int
    millions: float


MODELS = {
    "roberta_base": Model(layers=12, width=768, rank=8, millions=0.3),
    "deberta_xxl": Model(layers=48, width=1536, rank=16, millions=4.7),
    "gpt3": Model(layers=96, width=12288, rank=1, millions=4.7),
    "gpt3_rank_8": Model(layers=96, width=12288, rank=8, millions=37.7),
}


def measure_merging(seed: int) -> Measurement:
    """Errors, relative to the outputs' spread, of two layers with adapters and a ReLU between."""
    rng = np.random.default_rng(seed)
    shape = (WIDTH, WIDTH)
    kernels = [(rng.normal(size=shape) / WIDTH**0.5).astype(np.float32) for _ in range(2)]
    params = {f"layer{i}": {"kernel": jnp.asarray(kernel)} for i, kernel in enumerate(kernels)}
    base, adapters = split(params, jax.random.key(seed), rank=RANK, adapted="kernel$", trained=None)
    x = rng.normal(size=(128, WIDTH))

    def outputs(params: dict) -> np.ndarray:
        first, second = (np.asarray(params[f"layer{i}"]["kernel"]) for i in range(2))
        return np.maximum(x @ first, 0) @ second

    def branched(adapters: dict) -> np.ndarray:
        """Equation 3: h = W x + (alpha / r) B A x beside each kernel, in float64."""

        def layer(i: int, x: np.ndarray) -> np.ndarray:
            own = adapters[f"layer{i}"]["kernel"]
            a, b = np.asarray(own.a, np.float64), np.asarray(own.b, np.float64)
            return x @ kernels[i] + ALPHA / RANK * (x @ a @ b)

        return layer(1, np.maximum(layer(0, x), 0))

    def error(found: np.ndarray, expected: np.ndarray) -> float:
        return float(np.abs(found - expected).max() / expected.std())

    moved = jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32), adapters
    )
    start, merged = (merge(base, own, scale=ALPHA / RANK) for own in (adapters, moved))
    return {
        "start_error": error(outputs(start), outputs(params)),
        "merged_error": error(outputs(merged), branched(moved)),
        "base_error": error(outputs(params), branched(moved)),
    }


def measure_parameters(seed: int) -> Measurement:
    """Adapters' numbers of the paper's models, by shapes alone, in units of those it names.

    `least_saving` is how many times as many numbers the adapted matrices have, at least.
    """
    shares, savings = {}, []
    for name, model in MODELS.items():
        square = jax.ShapeDtypeStruct((model.layers, model.width, model.width), jnp.float32)
        params = {"query": {"kernel": square}, "value": {"kernel": square}}
        adapt = functools.partial(split, rank=model.rank, adapted="kernel$", trained=None)
        _, adapters = jax.eval_shape(adapt, params, jax.random.key(seed))
        shares[name] = count(adapters) / (model.millions * 1e6)
        savings.append(count(params) / count(adapters))
    return shares | {"least_saving": min(savings)}


def config(name: str, seed: int = 0) -> ConfigDict:
    """A variant's config with the claim's budget."""
    overrides = {"steps": STEPS, "data.batch_size": BATCH}
    variant = f"configs/minilm.py:{VARIANTS[name]}"
    return trained.config(variant, seed=seed, overrides=overrides, save_every=100, log_every=50)


def measure_glosses(seed: int) -> Measurement:
    """Test accuracy and macro F1 by what is learned, and the share of parameters that is."""
    measured: dict[str, float] = {}
    for name in VARIANTS:
        experiment, state = trained.trained(config(name, seed), f"lora-{name}-seed{seed}")
        few = {field: rows[:TESTED] for field, rows in experiment.test_data.arrays().items()}
        test = dataclasses.replace(experiment.test_data, source=InMemory(few))
        whole = dataclasses.replace(experiment, test_data=test, evaluate={"batch_size": 100})
        answers = draw(whole, state, jax.random.key(seed), count=TESTED)
        scores = classification(answers["predictions"], answers["labels"])
        measured |= {f"{name}_accuracy": scores["accuracy"], f"{name}_f1": scores["f1"]}
        if name == "lora":
            learned = count(state.params["adapters"])
            measured["learned_share"] = learned / (learned + count(state.params["base"]))
            trivial = whole.method.trivial(whole.train_data, test)["accuracy"]
            measured["majority_accuracy"] = trivial["majority"]
    return measured | {
        "shortfall": measured["full_accuracy"] - measured["lora_accuracy"],
        "gain_over_probe": measured["lora_accuracy"] - measured["probe_accuracy"],
    }


CLAIMS = [
    Claim(
        id="lora.merging",
        statement="Training starts at the pretrained outputs, and merged weights give the "
        "adapters' own.",
        source="section 4.1, equation 3",
        figure="identity, error 0 [M]",
        kind="exact",
        protocol=f"two layers of {WIDTH} x {WIDTH} and a ReLU, rank {RANK}, alpha {ALPHA:g}; "
        "branches beside the kernels, "
        "by float64, against merged weights in float32, of adapters drawn at random. Beside it: "
        "the base alone.",
        measure=measure_merging,
        rules=[
            identity("start_error", 0, tolerance=0),
            identity("merged_error", 0, tolerance=1e-5),
            violated("base_error", least=0.1),
        ],
        seeds=5,
        ours=["start_error", "merged_error"],
        baseline=["base_error"],
        settings={"width": WIDTH, "rank": RANK, "alpha": ALPHA},
    ),
    Claim(
        id="lora.parameters",
        statement="2 d r numbers are learned of each adapted matrix: 4.7M of GPT-3's 175 billion.",
        source="section 4.2, tables 2 and 4",
        figure="RoBERTa base 0.3M, DeBERTa XXL 4.7M, GPT-3 4.7M and 37.7M [M]",
        figures={name: model.millions for name, model in MODELS.items()},
        kind="exact",
        protocol="query and value of 12 layers of width 768 at rank 8, 48 of 1536 at 16, 96 of "
        "12288 at 1 and 8, by shapes alone; over the paper's rounded figures. Nothing is random.",
        measure=measure_parameters,
        rules=[identity(name, 1, tolerance=0.02) for name in MODELS],
        ours=list(MODELS),
        baseline=["least_saving"],
        settings={"models": MODELS},
        version=2,
    ),
    Claim(
        id="lora.gloss_categories",
        statement="LoRA is about as good as full fine-tuning with a hundredth of the parameters.",
        source="section 5.2, table 2",
        figure="RoBERTa base on GLUE, mean of 8: 86.4 fine-tuned, 87.2 by LoRA of 0.3M [M]",
        figures={"full": 86.4, "lora": 87.2},
        kind="direction",
        protocol="MiniLM, 45 kinds of WordNet's definitions, cut at 32 tokens; "
        f"{STEPS} steps of {BATCH}, AdamW with a cosine at 5e-3 of the last layer, 1e-4 of the "
        "encoder, 1e-3 of adapters of rank 8 on queries, keys and values; "
        f"{TESTED} of the test's definitions. Beside it: the last layer alone, and the majority.",
        measure=measure_glosses,
        rules=[
            surely_at_most("shortfall", 0.02),
            violated("gain_over_probe", least=0.03),
            at_most("learned_share", 0.01),
            ordered("majority_accuracy", "probe_accuracy", "lora_accuracy"),
        ],
        ours=["lora_accuracy", "lora_f1", "full_accuracy", "full_f1", "learned_share"],
        baseline=["probe_accuracy", "probe_f1", "majority_accuracy"],
        settings={"configs": {name: plain(config(name)) for name in VARIANTS}, "tested": TESTED},
    ),
    Claim(
        id="lora.gpt3",
        statement="On GPT-3 175B LoRA matches or exceeds fine-tuning.",
        source="section 5.5, table 4",
        figure="WikiSQL 73.8 and 73.4, MNLI-m 89.5 and 91.7, fine-tuned and by LoRA of 4.7M [M]",
        figures={"wikisql": 73.4, "mnli": 91.7},
        kind="accelerator",
        protocol="GPT-3's weights, queries and values at rank 1 and 8, three tasks.",
        not_run="GPT-3's weights are not to be had, and 175 billion parameters are beyond a CPU",
    ),
]
