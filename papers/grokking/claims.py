"""The grokking paper's claims: validation follows training, many times later."""

import functools

from papers.grokking import curves
from papers.ledger import Claim
from papers.rules import Measurement, ordered, violated
from research.run import plain

LATER = 10  # times as many steps; the paper tells no number for its default weight decay


def measure_delay(seed: int, *, weight_decay: float) -> Measurement:
    """Steps to 99% of training and of validation, and validation's accuracy when training's is."""
    made = curves.config(seed, weight_decay=weight_decay)
    training, validation = curves.curves(made, f"grokking-decay{weight_decay:g}-seed{seed}")
    return {**delays(training, validation), "chance": 1 / made.data.modulus}


def delays(training: curves.Curve, validation: curves.Curve) -> Measurement:
    """Where validation is not `reached`, `times_later` is of the last step: it is later still.

    Where training has not reached 99%, `training_steps` are all, and `times_later` is 1 at most.
    """
    learned = min(curves.first_reached(training), training[-1][0])
    understood = min(curves.first_reached(validation), validation[-1][0])
    return {
        "training_steps": learned,
        "validation_steps": understood,
        "times_later": understood / learned,
        "reached": float(curves.is_reached(validation)),
        "validation_then": max(value for step, value in validation if step <= learned),
        "validation_at_last": validation[-1][1],
    }


PROTOCOL = (
    "half of the 9,312 equations, a decoder of 2 layers, 4 heads and width 128, AdamW at 1e-3 with "
    "b2 0.98 and {decay}, batches of 512; the first step at which 99% of a training batch, and of "
    "all other equations, are right; at most {steps:,} steps."
)

CLAIMS = [
    Claim(
        id="grokking.delay",
        statement="Division modulo 97 is learned by heart first, and understood long after.",
        source="section 3.1, figure 1",
        figure="training near perfect before 1e3 steps, validation near 1e6 without weight decay "
        "[V]; no number for the default decay of 1, our ten times is ours",
        figures={"training_steps": 1e3, "validation_steps": 1e6},
        kind="direction",
        protocol=PROTOCOL.format(decay="weight decay 1", steps=curves.config().steps),
        measure=functools.partial(measure_delay, weight_decay=1.0),
        rules=[
            violated("times_later", least=LATER),
            violated("reached", least=1),
            ordered("validation_then", "validation_at_last"),
        ],
        ours=["training_steps", "validation_steps", "times_later", "validation_at_last"],
        baseline=["validation_then", "chance"],
        settings={"config": plain(curves.config()), "every": curves.EVERY},
    ),
    Claim(
        id="grokking.without_decay",
        statement="Without weight decay it isn't understood yet after more than ten times as many "
        "steps as it is learned by heart in.",
        source="figure 1",
        figure="training before 1e3 steps, validation near 1e6 [V]",
        figures={"training_steps": 1e3, "validation_steps": 1e6},
        kind="direction",
        protocol=PROTOCOL.format(
            decay="no weight decay", steps=curves.config(weight_decay=0.0).steps
        )
        + " The million steps after which it is understood are not run: where it isn't reached, "
        "times_later is a lower bound.",
        measure=functools.partial(measure_delay, weight_decay=0.0),
        rules=[violated("times_later", least=LATER)],
        ours=["training_steps", "reached", "times_later", "validation_at_last"],
        baseline=["validation_then", "chance"],
        settings={"config": plain(curves.config(weight_decay=0.0)), "every": curves.EVERY},
    ),
]
