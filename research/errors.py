"""The one error a user can cause: it reaches the terminal as a single line and a non-zero exit."""

import difflib
import math
from collections.abc import Iterable


class InputError(Exception):
    """Bad input. The message says what is wrong, where, and what is allowed, in one line."""


def check_least(least: int | float, **values: int | float) -> None:
    """Raises InputError where one of `values`, each by its name, isn't finite or below `least`."""
    check_finite(**values)
    for name, value in values.items():
        if value < least:
            raise InputError(f"{name} is {value}; {least} is the least")


def check_finite(**values: int | float) -> None:
    """Raises InputError where one of `values`, each by its name, is infinite or no number."""
    for name, value in values.items():
        if not -math.inf < value < math.inf:
            raise InputError(f"{name} is {value}; it must be a finite number")


def check_choice(kind: str, name: str, allowed: Iterable[str]) -> None:
    """Raises InputError where there is no `kind` of that name, and tells the nearest allowed."""
    allowed = list(allowed)
    if name not in allowed:
        raise InputError(f"no {kind} {name!r}; {nearest(name, allowed)}")


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Ends an error message: the allowed names nearest to `name`, or all of them if none is."""
    allowed = sorted(allowed)
    close = difflib.get_close_matches(name, allowed, n=3, cutoff=0.5)
    return f"nearest: {', '.join(close)}" if close else f"allowed: {', '.join(allowed)}"
