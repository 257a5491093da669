"""How often a model finds the right answer the likeliest, zero-shot or few-shot (2005.14165)."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from research.data.choice_tasks import Question
from research.errors import InputError
from research.scores.table import Score
from research.training.method import TextRanker
from research.training.state import TrainState


def score_choices(
    method: TextRanker, state: TrainState, questions: Sequence[Question], name: str
) -> list[Score]:
    """Accuracy where a choice is ranked by its likelihood, by that a byte, or by what it gains.

    What it gains by the prompt, log p(choice | prompt) - log p(choice), is section 2.4's third way,
    but that there the second is after "Answer: ", and here at a document's start. The floor is the
    right answers' own, 1. Baselines: chance, and the likeliest without a prompt. `name` is shown
    with the metric, and how many questions were `cut` because the context doesn't hold them.

    Raises:
      InputError: the model's likelihoods are not finite.
    """
    pairs = [(q.prompt, choice) for q in questions for choice in q.choices]
    given = method.log_likelihoods(state, pairs)
    texts = sorted({choice for _, choice in pairs})
    alone = dict(zip(texts, method.log_likelihoods(state, [("", x) for x in texts]), strict=True))
    prior = np.array([alone[choice] for _, choice in pairs])
    if not np.isfinite([given, prior]).all():
        raise InputError("the model's likelihoods are not finite: there is nothing to rank by")
    size = np.array([len(choice.encode("utf-8")) for _, choice in pairs])
    ways = {"likelihood": given, "likelihood_per_byte": given / size, "gain": given - prior}
    baselines = {
        "chance": float(np.mean([1 / len(q.choices) for q in questions])),
        "no_prompt": accuracy(questions, prior),
    }
    cut = sum(not all(method.sees_all(q.prompt, choice) for choice in q.choices) for q in questions)
    shown = f"{name},n={len(questions)}" + (f",cut={cut}" if cut else "")
    return [
        Score(
            metric=f"accuracy_by_{way}[{shown}]",
            value=accuracy(questions, values),
            floor=1.0,
            baselines=baselines,
            better="higher",
            sample_count=len(questions),
        )
        for way, values in ways.items()
    ]


def accuracy(questions: Sequence[Question], values: Float[np.ndarray, " n"]) -> float:
    """The share of questions whose right choice has the highest value; values are in order."""
    ends = np.cumsum([len(q.choices) for q in questions])
    rows = np.split(values, ends[:-1])
    return float(
        np.mean([row.argmax() == q.answer for q, row in zip(questions, rows, strict=True)])
    )
