"""T5's claims: the format of its pretraining, and a task of text to text learned from nothing."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from papers import trained
from papers.ledger import Claim
from papers.rules import Measurement, identity, ordered, violated
from research.experiment import Experiment
from research.methods import span_corruption
from research.methods.span_corruption import noise_mask, plan
from research.run import draw, plain
from research.scores.texts import against, baselines
from research.training.state import TrainState

TEXT = "Thank you for inviting me to your party last week ."
TAKEN = ("for", "inviting", "last")
MARKS = ("<X>", "<Y>", "<Z>")
FIGURE_2 = ("Thank you <X> me to your party <Y> week .", "<X> for inviting <Y> last <Z>")

LENGTH = 500  # tokens of a text, of section 3.3.4's example
ROWS = 200
COUNT = 1000  # test examples that are summarized
DECODING = dict(strategy="beam", beams=4, length_penalty=1.0)


def figure_2() -> tuple[str, str]:
    """Inputs and targets of the paper's sentence with its three words taken out."""
    words = TEXT.split()
    names = ["<pad>", "<end>", *MARKS, *words]
    tokens = np.arange(5, len(names))
    mask = np.isin(words, TAKEN)
    sizes = span_corruption.Plan(len(words), noise=3, spans=2)
    given = jnp.asarray(tokens), jnp.asarray(mask), sizes
    found = span_corruption.corrupted(*given, sentinels=(2, 3, 4), end=1, pad=0)
    inputs, targets = (" ".join(names[i] for i in row[:-1]) for row in map(np.asarray, found))
    return inputs, targets


def measure_spans(seed: int) -> Measurement:
    """Figure 2, texts made whole again, and rates, beside tokens that are taken out one by one.

    `kept_by_the_next` is the share of the places a text loses that the next text keeps: of places
    at random some 85%.
    """
    sizes = plan(LENGTH)
    rngs = jax.random.split(jax.random.key(seed), ROWS)
    masks = np.asarray(jax.vmap(lambda rng: noise_mask(rng, sizes))(rngs))
    marks = tuple(range(1000, 1000 + sizes.spans + 1))

    @jax.jit
    def corrupt(tokens: Any, mask: Any) -> Any:
        return span_corruption.corrupted(tokens, mask, sizes, sentinels=marks, end=1, pad=0)

    rng = np.random.default_rng(seed)
    wrong = 0
    for mask in masks:
        tokens = rng.integers(2, 1000, LENGTH)
        made = corrupt(jnp.asarray(tokens), jnp.asarray(mask))
        inputs, targets = (np.asarray(row)[:-1].tolist() for row in made)
        wrong += span_corruption.restored(inputs, targets, sentinels=marks) != tokens.tolist()
    alone = rng.random((ROWS, LENGTH)) < 0.15
    return {
        "figure_2_differences": float(
            sum(a != b for a, b in zip(figure_2(), FIGURE_2, strict=True))
        ),
        "texts_not_restored": float(wrong),
        "share_taken_out": float(masks.mean()),
        "kept_by_the_next": float((masks[:-1] & ~masks[1:]).sum() / masks[:-1].sum()),
        "mean_span": mean_span(masks),
        "mean_span_one_by_one": mean_span(alone),
        "target_tokens": float(sizes.targets),
        "target_tokens_one_by_one": float(
            (alone.sum(axis=1) + starts(alone).sum(axis=1)).mean() + 2
        ),
    }


def starts(masks: np.ndarray) -> np.ndarray:
    return masks & ~np.pad(masks[:, :-1], ((0, 0), (1, 0)))


def mean_span(masks: np.ndarray) -> float:
    """Tokens taken out over spans of them."""
    return float(masks.sum() / starts(masks).sum())


def measure_summaries(seed: int) -> Measurement:
    """ROUGE of summaries of unseen source packages' descriptions, and of trivial ones."""
    made = trained.config("configs/t5.py:summarize", seed=seed, save_every=250)
    experiment, state = trained.trained(made, f"t5_summarize-seed{seed}")
    found = summaries(experiment, state)
    references, inputs = (list(found[name]) for name in ("references", "inputs"))
    trivial = baselines(inputs, experiment.train_data)
    sets = {"ours": list(found["texts"]), "reference": references, **trivial}
    scores = {name: against(references, texts) for name, texts in sets.items()}
    return {
        f"{metric}_{name}": value
        for name, values in scores.items()
        for metric, value in values.items()
        if metric in ("rouge1", "rougeL", "bleu")
    }


def summaries(experiment: Experiment, state: TrainState) -> dict[str, np.ndarray]:
    """What the model writes of COUNT test examples."""
    whole = dataclasses.replace(experiment, evaluate={"batch_size": 100})
    return draw(whole, state, jax.random.key(0), count=COUNT, **DECODING)


CLAIMS = [
    Claim(
        id="t5.spans",
        statement="15% of the tokens are taken out in random spans of 3 on average, each of which "
        "one sentinel stands for; inputs and targets hold the whole text.",
        source="section 3.1.4, figure 2; section 3.3.4",
        figure="figure 2's words; of 500 tokens 75 in 25 spans [M]",
        figures={"share_taken_out": 0.15, "mean_span": 3.0},
        kind="exact",
        protocol=f"The figure's sentence, and {ROWS} random texts of {LENGTH} tokens a seed; "
        "beside them tokens taken out one by one, 15% of them.",
        measure=measure_spans,
        rules=[
            identity("figure_2_differences", 0, tolerance=0),
            identity("texts_not_restored", 0, tolerance=0),
            identity("share_taken_out", 0.15, tolerance=1e-6),
            identity("mean_span", 3.0, tolerance=1e-6),
            violated("kept_by_the_next", least=0.75),
            violated("target_tokens_one_by_one", least=plan(LENGTH).targets + 10),
        ],
        seeds=5,
        ours=["share_taken_out", "mean_span", "target_tokens", "texts_not_restored"],
        baseline=["mean_span_one_by_one", "target_tokens_one_by_one"],
        settings={"length": LENGTH, "rows": ROWS},
        version=2,
    ),
    Claim(
        id="t5.summarize",
        statement="An encoder-decoder that is trained text to text summarizes: better than an "
        "input's first twelve words, and than the most frequent summary.",
        source="sections 2.1 and 2.4",
        figure="ROUGE-2 17.6 on CNN/Daily Mail, 19.24 after pretraining, table 1 [V]",
        kind="direction",
        protocol="Debian's package descriptions, long to short, split by source package; tests of "
        "which half of the runs of 8 words are in training are left out; no pretraining, copying "
        f"from the input as See et al. have it; ROUGE-L F1 of {COUNT} test examples, 4 beams.",
        measure=measure_summaries,
        rules=[
            ordered("rougeL_lead_words", "rougeL_ours"),
            ordered("rougeL_most_frequent", "rougeL_ours"),
        ],
        ours=["rougeL_ours", "rouge1_ours", "bleu_ours"],
        baseline=[
            "rougeL_lead_words",
            "rougeL_most_frequent",
            "rougeL_reference",
            "bleu_lead_words",
        ],
        settings={
            "config": plain(trained.config("configs/t5.py:summarize", save_every=250)),
            "count": COUNT,
            "decoding": DECODING,
        },
        version=2,
    ),
    Claim(
        id="t5.glue",
        statement="Pretraining by span corruption on C4 makes a model of 220M parameters reach 83 "
        "on GLUE and 71 on SuperGLUE; without pretraining it reaches 66 and 53.",
        source="table 1",
        figure="GLUE 83.28, SuperGLUE 71.36; without pretraining 66.22, 53.04 [M]",
        figures={"glue": 83.28, "superglue": 71.36},
        kind="accelerator",
        protocol="2^35 tokens of C4, then 2^18 steps of each task, batches of 128 x 512.",
        not_run="C4, GLUE and SuperGLUE are downloads; 220M parameters need an accelerator",
    ),
]
