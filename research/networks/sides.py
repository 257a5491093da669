"""The sides of images, which pyramids of networks halve level by level."""

from collections.abc import Sequence

from research.errors import InputError


def smallest_sides(sides: Sequence[int], halvings: int, *, fewer: str = "") -> tuple[int, ...]:
    """The sides halved so often.

    Raises InputError unless they can be; `fewer` are the config's keys that ask for less.
    """
    if any(side % 2**halvings for side in sides):
        raise InputError(
            f"images of {'x'.join(map(str, sides))} can't be halved {halvings} times: the sides "
            f"must be multiples of {2**halvings}{f', or {fewer} fewer' if fewer else ''}"
        )
    return tuple(side // 2**halvings for side in sides)
