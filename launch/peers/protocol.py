"""How a peer and `launch.compare` take turns: a number of steps in, the seconds they took out."""

import sys
import time
from collections.abc import Callable


def serve(stretch: Callable[[int], object], score: Callable[[], float] | None = None) -> None:
    """Answers every line of standard input: a number of steps with the seconds `stretch` took.

    `stretch` returns when its last result is ready. The line `score` is answered with `score()`.
    """
    for line in sys.stdin:
        if line.strip() == "score" and score is not None:
            print(score(), flush=True)
            continue
        start = time.perf_counter()
        stretch(int(line))
        print(time.perf_counter() - start, flush=True)
