"""In-context regression's claims: a trained transformer beside least squares."""

from papers.in_context_regression import curve
from papers.ledger import Claim
from papers.rules import Measurement, identity, ordered, violated
from research.data.sequence_tasks import DIMENSIONS
from research.run import plain

EXAMPLES = 2 * DIMENSIONS
WITHIN = 0.05  # of squared errors over d, 1 expected of the zero predictor
UNTOLD = 0.8  # without an example none is much better than it, unless it sees what it is to tell


def measure(seed: int) -> Measurement:
    """Squared errors over d after 0, d and 2d examples, and how far from least squares after 2d."""
    found = curve.errors(seed)
    measured = {name: float(values[EXAMPLES]) for name, values in found.items()}
    return {
        **measured,
        "transformer_at_0": float(found["transformer"][0]),
        "transformer_at_d": float(found["transformer"][DIMENSIONS]),
        "above_least_squares": measured["transformer"] - measured["least_squares"],
    }


CLAIMS = [
    Claim(
        id="in_context_regression.linear",
        statement="A transformer learns linear functions in its context, as least squares do.",
        source="section 3, figure 2",
        figure="error^2 / d of d = 20: 0.02 after 20 examples, 0.0006 after 40 [V]",
        figures={"at_d": 0.02, "at_2d": 0.0006},
        kind="direction",
        protocol="d = 5, a decoder of 3 layers, 4 heads and width 64, 6000 steps of 128 of 200,000 "
        "functions; squared errors over d on 2000 others, after 10 examples. Beside it least "
        "squares, the mean of y x as weights, and 0, whose error is 1.",
        measure=measure,
        rules=[
            ordered("transformer", "averaging", "zero"),
            identity("above_least_squares", 0, tolerance=WITHIN),
            violated("transformer_at_0", least=UNTOLD),
        ],
        ours=["transformer", "transformer_at_d", "transformer_at_0"],
        baseline=["least_squares", "averaging", "zero"],
        settings={"config": plain(curve.config())},
        version=2,
    ),
]
