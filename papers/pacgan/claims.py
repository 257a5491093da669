"""PacGAN's claims: packing undoes mode collapse on the ring and the grid, row by row."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from papers.ledger import Claim
from papers.pacgan.protocol import (
    BATCH,
    EXAMPLES,
    SAMPLES,
    SCORES,
    SETTINGS,
    Row,
    history,
    together,
)
from papers.rules import Measurement, figure, ordered, violated
from research.data.mixtures import MIXTURES
from research.evaluation.modes import DEVIATIONS, baselines, mode_scores

PACKINGS = (1, 2, 3, 4)
# Table 1: modes, high quality, reverse KL by packing; and the standard errors of the modes.
TABLE = {
    "ring": {
        1: (6.3, 0.982, 0.45),
        2: (7.9, 0.956, 0.07),
        3: (7.8, 0.977, 0.10),
        4: (7.8, 0.959, 0.07),
    },
    "grid": {
        1: (17.3, 0.948, 0.70),
        2: (23.8, 0.913, 0.13),
        3: (24.6, 0.942, 0.06),
        4: (24.8, 0.936, 0.04),
    },
}
ERRORS = {
    "ring": {1: 0.5, 2: 0.1, 3: 0.1, 4: 0.1},
    "grid": {1: 0.8, 2: 0.7, 3: 0.4, 4: 0.2},
}
ANCHORS = (
    *(f"perfect_{score}" for score in SCORES),
    *(f"one_gaussian_{score}" for score in SCORES),
    "one_point_modes",
)


def measure(
    seed: int, *, mixture: str, packings: Sequence[int], epochs: int, seeds: int
) -> Measurement:
    """Each row's scores after the last epoch, and their mean over all, beside trivial ones."""
    found = anchors(mixture, seed)
    trained = together(seed, seeds)
    for packing in packings:
        of_seed = history(Row(mixture, packing, epochs), trained)[:, trained.index(seed)]
        for i, score in enumerate(SCORES):
            found[f"{row_name(packing)}_{score}"] = float(of_seed[-1, i])
            found[f"{row_name(packing)}_{score}_mean"] = float(of_seed[:, i].mean())
    return found


def anchors(mixture: str, seed: int) -> dict[str, float]:
    """The scores of a perfect sampler, of one fitted Gaussian and of one copied point."""
    of = MIXTURES[mixture]
    perfect = of.draw(SAMPLES, seed=1000 + seed)
    sets = {"perfect": perfect} | baselines(perfect, SAMPLES, seed=seed)
    return {
        f"{name}_{score}": value
        for name, points in sets.items()
        for score, value in mode_scores(points, of.centres, of.std).items()
    }


def scattered_quality(mixture: str) -> float:
    """The share of high quality of points spread evenly over the square that holds all of it."""
    of = MIXTURES[mixture]
    radius = DEVIATIONS * of.std
    near = len(of.centres) * math.pi * radius**2
    return float(near / np.prod(np.ptp(of.centres, axis=0) + 2 * radius))


def row_name(packing: int) -> str:
    return "gan" if packing == 1 else f"pacgan{packing}"


def figures(mixture: str, packings: Sequence[int]) -> dict[str, float]:
    return {
        f"{row_name(packing)}_{score}": value
        for packing in packings
        for score, value in zip(SCORES, TABLE[mixture][packing], strict=True)
    }


def quoted(mixture: str, packings: Sequence[int]) -> str:
    rows = [
        f"{row_name(p)} {modes:g}±{ERRORS[mixture][p]:g}/{quality:g}/{divergence:g}"
        for p in packings
        for modes, quality, divergence in [TABLE[mixture][p]]
    ]
    return f"modes/high quality/reverse KL: {', '.join(rows)}; 10 runs [V, its own table]"


def claim(
    id: str, *, mixture: str, packings: Sequence[int], epochs: int, seeds: int, **rest: Any
) -> Claim:
    schedule: dict[str, Any] = {"mixture": mixture, "packings": packings, "epochs": epochs}
    rows = [row_name(packing) for packing in packings]
    return Claim(
        id=id,
        source="section 4.1, table 1",
        figure=quoted(mixture, packings),
        figures=figures(mixture, packings),
        protocol=f"The authors' code: {epochs} epochs of {EXAMPLES // BATCH} steps (theirs 400), "
        f"batches of {BATCH} packs, {SAMPLES} samples after every epoch; the last epoch's scores, "
        "_mean those of all epochs.",
        measure=functools.partial(measure, **schedule, seeds=seeds),
        seeds=seeds,
        ours=[f"{row}_{score}" for row in rows for score in SCORES]
        + [f"{row}_modes_mean" for row in rows],
        baseline=ANCHORS,
        settings=schedule | SETTINGS,
        **rest,
    )


CLAIMS = [
    *(
        claim(
            f"pacgan.{mixture}",
            mixture=mixture,
            packings=PACKINGS,
            epochs=40,
            seeds=10,
            statement=f"Packing covers more modes of the {mixture} than the GAN, more evenly.",
            kind="direction",
            rules=[
                *(ordered("gan_modes", f"pacgan{m}_modes") for m in PACKINGS[1:]),
                *(ordered(f"pacgan{m}_reverse_kl", "gan_reverse_kl") for m in PACKINGS[1:]),
                # Noise covers all modes of the grid too, and evenly: it is no sample of them.
                *(
                    violated(f"pacgan{m}_high_quality", least=3 * scattered_quality(mixture))
                    for m in PACKINGS[1:]
                ),
            ],
        )
        for mixture in ("ring", "grid")
    ),
    claim(
        "pacgan.grid_whole",
        mixture="grid",
        packings=(1, 2),
        epochs=400,
        seeds=3,
        statement="On the grid the GAN covers 17.3 of 25 modes and PacGAN2 23.8.",
        kind="exact",
        rules=[
            figure("gan_modes", 17.3, standard_error=ERRORS["grid"][1]),
            figure("pacgan2_modes", 23.8, standard_error=ERRORS["grid"][2]),
            ordered("gan_modes", "pacgan2_modes"),
        ],
    ),
]
