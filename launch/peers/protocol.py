"""How a peer and `launch.compare` take turns: a number of steps in, the seconds they took out."""

import sys
import time
from collections.abc import Callable


def serve(stretch: Callable[[int], object]) -> None:
    """Answers every line of standard input, a number of steps, with the seconds `stretch` took.

    `stretch` returns when its last result is ready.
    """
    for line in sys.stdin:
        start = time.perf_counter()
        stretch(int(line))
        print(time.perf_counter() - start, flush=True)
