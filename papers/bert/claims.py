"""BERT's claims: how tokens are hidden, and that both sides tell them better than the left."""

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from papers import trained
from papers.ledger import Claim
from papers.rules import Measurement, identity, ordered
from research.methods.masked_language_model import chosen_of, masking
from research.run import plain

CONFIG = "configs/bert.py:shakespeare"
STEPS = 1000
ROWS, LENGTH = 4096, 128
VOCABULARY, MASK = 30_000, 3


def measure_masking(seed: int) -> Measurement:
    """Shares of all tokens that are chosen, and of those that are hidden, swapped and kept.

    `place_error` is the most that a place's share of the chosen is off; `changed_elsewhere` counts
    the tokens that are changed and not chosen. `told_by_itself` are those of the chosen that a
    copy of what is seen would tell.
    """
    rng = jax.random.key(seed)
    tokens = jax.random.randint(rng, (ROWS, LENGTH), MASK + 1, VOCABULARY)
    count = chosen_of(LENGTH, share=SHARE)
    given = dict(count=count, mask=MASK, vocabulary=VOCABULARY)
    found = masking(tokens, jnp.ones_like(tokens, bool), rng, **given)
    seen, places = np.asarray(found.seen_BxT), np.asarray(found.places_BxM)
    shown = np.take_along_axis(seen, places, axis=1)
    hidden, kept = shown == MASK, shown == np.asarray(found.targets_BxM)
    chosen = np.zeros(seen.shape, bool)
    np.put_along_axis(chosen, places, True, axis=1)
    return {
        "chosen": float(chosen.mean()),
        "place_error": float(np.abs(chosen.mean(axis=0) - chosen.mean()).max()),
        "changed_elsewhere": float(np.sum((seen != tokens) & ~chosen)),
        "hidden": float(hidden.mean()),
        "kept": float(kept.mean()),
        "swapped": float((~hidden & ~kept).mean()),
        "told_by_itself": float(kept.mean()),
    }


def config(seed: int = 0, *, causal: bool = False) -> ConfigDict:
    overrides = {"steps": STEPS, "network.causal": causal}
    return trained.config(CONFIG, seed=seed, overrides=overrides)


def measure_sides(seed: int) -> Measurement:
    """Test losses of hidden tokens by a network that sees both sides, and by one of the left."""
    measured: dict[str, float] = {}
    for name, causal in {"both": False, "left": True}.items():
        experiment, state = trained.trained(config(seed, causal=causal), f"bert-{name}-seed{seed}")
        metrics = trained.test_metrics(experiment, state, batch_size=128)
        measured[f"loss_{name}"] = metrics["loss"]
        measured[f"accuracy_{name}"] = metrics["accuracy"]
        nats = experiment.method.trivial(experiment.train_data, experiment.test_data)["loss"]
    return measured | {f"loss_{name}": value for name, value in nats.items()}


SHARE = config().method.share
CLAIMS = [
    Claim(
        id="bert.masking",
        statement="15% of the tokens are chosen; of those 80% are hidden, 10% become another, 10% "
        "stay.",
        source="section 3.1, task 1",
        figure="15, 80, 10 and 10% [M]",
        figures={"chosen": 0.15, "hidden": 0.8, "swapped": 0.1, "kept": 0.1},
        kind="exact",
        protocol=f"{ROWS} rows of {LENGTH} tokens of a vocabulary of {VOCABULARY}, as many of a "
        "row as the config's share. A share's standard error is 0.0014 at most, a place's 0.006.",
        measure=measure_masking,
        rules=[
            identity("chosen", 0.15, tolerance=0.002),
            identity("hidden", 0.8, tolerance=0.006),
            identity("swapped", 0.1, tolerance=0.006),
            identity("kept", 0.1, tolerance=0.006),
            identity("place_error", 0, tolerance=0.03),
            identity("changed_elsewhere", 0, tolerance=0),
        ],
        seeds=5,
        ours=["chosen", "hidden", "swapped", "kept", "place_error", "changed_elsewhere"],
        baseline=["told_by_itself"],
        settings={"rows": ROWS, "length": LENGTH, "vocabulary": VOCABULARY, "share": SHARE},
        version=3,
    ),
    Claim(
        id="bert.both_sides",
        statement="A network that sees both sides of a token tells it better than one of the left.",
        source="section 5.1, table 5 (LTR)",
        figure="MNLI 83.9 against 82.1, SQuAD 87.9 against 77.8, without next sentences [M]",
        kind="direction",
        protocol=f"Subwords of Shakespeare, plays held out, 1.0M parameters, {STEPS} steps of 32 "
        "contexts of 64; the same network, data and hidden tokens, and each token sees all others "
        "or those on its left. The nats of a hidden test token.",
        measure=measure_sides,
        rules=[
            ordered("loss_both", "loss_left", "loss_unigram"),
            ordered("accuracy_left", "accuracy_both"),
        ],
        ours=["loss_both", "loss_left", "accuracy_both", "accuracy_left"],
        baseline=["loss_unigram", "loss_bigram"],
        settings={"config": plain(config())},
    ),
    Claim(
        id="bert.glue",
        statement="Fine-tuned it is the best of its time on the eleven tasks of GLUE and SQuAD.",
        source="tables 1 and 2",
        figure="GLUE 79.6 (base) and 82.1 (large), SQuAD F1 93.2 [M]",
        kind="accelerator",
        protocol="BooksCorpus and Wikipedia, a million steps of 256 contexts of 512: "
        "`configs/bert.py:base` has the size.",
        not_run="the texts and GLUE download, and training takes days of 16 accelerators",
    ),
]
