"""Verdict rules: what measurements over seeds must satisfy, and the statistics they rest on."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy

Measurement = Mapping[str, float]  # one seed's measured values by name
FARTHEST = 0.25  # of a figure: so far its mean over seeds may be, however wide their spread


class Finding(NamedTuple):
    """Whether a rule holds, and the numbers that say so."""

    holds: bool
    reason: str


Rule = Callable[[Sequence[Measurement]], Finding]


class Estimate(NamedTuple):
    """A mean over seeds with its standard error and 95% interval, mean ± half_width.

    Both spreads are infinite for a single seed.
    """

    mean: float
    standard_error: float
    half_width: float
    seeds: int

    @property
    def low(self) -> float:
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        return self.mean + self.half_width

    def __str__(self) -> str:
        spread = f" ± {self.half_width:.2g}" if math.isfinite(self.half_width) else ""
        return f"{self.mean:.4g}{spread}"


def estimate(measurements: Sequence[Measurement], name: str) -> Estimate:
    """The mean of one measured value with Student's 95% interval over seeds."""
    values = np.array([measurement[name] for measurement in measurements], np.float64)
    count = len(values)
    if count < 2:
        return Estimate(float(values.mean()), math.inf, math.inf, count)
    standard_error = values.std(ddof=1) / math.sqrt(count)
    half_width = scipy.stats.t.ppf(0.975, count - 1) * standard_error
    return Estimate(float(values.mean()), float(standard_error), float(half_width), count)


def identity(name: str, expected: float, *, tolerance: float) -> Rule:
    """Every seed's value lies within `tolerance` of the expected one."""

    def rule(measurements: Sequence[Measurement]) -> Finding:
        errors = [abs(measurement[name] - expected) for measurement in measurements]
        holds = all(error <= tolerance for error in errors)
        reason = f"|{name} - {expected:g}| is {np.max(errors):.3g}, tolerance {tolerance:g}"
        return Finding(holds, reason)

    return rule


def violated(name: str, *, least: float) -> Rule:
    """Every seed's value is at least `least`: the error of what the paper calls wrong shows."""

    def rule(measurements: Sequence[Measurement]) -> Finding:
        values = [measurement[name] for measurement in measurements]
        holds = all(value >= least for value in values)
        return Finding(holds, f"{name} is {np.min(values):.4g}, at least {least:g} expected")

    return rule


def figure(name: str, expected: float, *, standard_error: float = 0) -> Rule:
    """The mean over seeds lies within two standard errors, the paper's among them, of its figure.

    And within `FARTHEST` of it: seeds that scatter excuse no mean that is far off.
    """
    spread = f" ± {standard_error:g}" if standard_error else ""
    asked = f"the paper's {expected:g}{spread}, {FARTHEST:.0%} off at most"

    def holds(mean: float, error: float) -> bool:
        return abs(mean - expected) <= allowed(math.hypot(error, 2 * standard_error), expected)

    return of_mean(name, asked, holds)


def at_most(name: str, expected: float) -> Rule:
    """The mean over seeds is at most two standard errors above a figure of a loss, or a bound.

    And at most `FARTHEST` of it, as for `figure`.
    """
    asked = f"{expected:g} or less asked for, {FARTHEST:.0%} more at most"

    def holds(mean: float, error: float) -> bool:
        return mean <= expected + allowed(error, expected)

    return of_mean(name, asked, holds)


def allowed(error: float, expected: float) -> float:
    """How far from a figure a mean may be by twice its standard error; for one seed nowhere."""
    return min(error, FARTHEST * abs(expected)) if error < math.inf else -math.inf


def surely_at_most(name: str, bound: float) -> Rule:
    """The mean over seeds is at least two standard errors below a bound of our own."""
    asked = f"both together {bound:g} or less asked for"
    return of_mean(name, asked, lambda mean, error: mean + error <= bound)


def surely_at_least(name: str, bound: float) -> Rule:
    """The mean over seeds is at least two standard errors above a bound of our own."""
    asked = f"their difference {bound:g} or more asked for"
    return of_mean(name, asked, lambda mean, error: mean - error >= bound)


def of_mean(name: str, asked: str, holds: Callable[[float, float], bool]) -> Rule:
    """What `holds` says of the mean over seeds and twice its standard error."""

    def rule(measurements: Sequence[Measurement]) -> Finding:
        found = estimate(measurements, name)
        error = 2 * found.standard_error
        reason = f"{name} is {found.mean:.4g}, 2 s.e. {error:.2g}, {asked}"
        return Finding(holds(found.mean, error), reason)

    return rule


def ordered(*names: str) -> Rule:
    """Each value's 95% interval lies wholly below the next's."""

    def rule(measurements: Sequence[Measurement]) -> Finding:
        found = [estimate(measurements, name) for name in names]
        holds = all(low.high < high.low for low, high in itertools.pairwise(found))
        listed = " < ".join(f"{name} {value}" for name, value in zip(names, found, strict=True))
        return Finding(holds, f"{listed} {'holds' if holds else 'does not hold'} at 95%")

    return rule
