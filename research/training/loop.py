"""The one training loop: it plays a method's step over a stream of batches and names no method."""

import contextlib
import dataclasses
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from research.errors import InputError
from research.training.checkpoints import Checkpoints
from research.training.execution import execution, initial_state, state_layout
from research.training.logs import Writer
from research.training.method import Method
from research.training.sharding import Rules
from research.training.state import TrainState
from research.training.types import Batch, Metrics, Params, Places


@dataclasses.dataclass(frozen=True)
class Hook:
    """Something done with the state after every `every`-th step, and after the last.

    With `at_start` also before a run's first, and its first again: what is wrong with it then costs
    no training.
    """

    every: int
    act: Callable[[TrainState], None]
    at_start: bool = False


def train(
    method: Method,
    iterator: Iterator[Batch | Places],
    *,
    example: Batch,
    steps: int,
    seed: int,
    mesh: Mesh,
    rules: Rules = (),
    checkpoints: Checkpoints | None = None,
    checkpoint_every: int = 1000,
    steps_per_execution: int = 1,
    examples: Batch | None = None,
    manifest: Mapping[str, Any] | None = None,
    writers: Sequence[Writer] = (),
    log_every: int = 50,
    hooks: Sequence[Hook] = (),
) -> TrainState:
    """Trains to `steps` steps, from the newest checkpoint if there is one.

    The batch of a step depends on the iterator's seed and the step alone, its randomness on
    `fold_in(seed, step)`: a resumed run is the uninterrupted one, bit for bit. Metrics are fetched
    while the next step runs. SIGTERM and Ctrl-C end the step under way, save and return; a second
    one ends the process.

    Args:
      example: a host batch of the right shapes and dtypes; its values are not read.
      checkpoint_every: steps between two saves; the last step is saved always.
      steps_per_execution: steps that the host has executed at once; at more than 1 small networks
        needn't wait for it, and a signal ends the last of them.
      examples: the whole data set, to be kept on the devices; the iterator then gives the places of
        a batch's examples in it, (b,), in place of batches.
      rules: (pattern, axes) pairs, as `sharding.state_shardings` reads them.

    Raises:
      InputError: a metric, or a parameter that would be saved, is not finite. Nothing of that step
        is saved.
    """
    rng = jax.random.key(seed)
    layout = state_layout(method, example=example, mesh=mesh, rules=rules)
    if checkpoints and checkpoints.latest is not None:
        state = checkpoints.restore(layout, iterator)
    else:
        state = initial_state(method, rng, example=example, layout=layout)
    for hook in hooks:
        if hook.at_start and int(state.step) < steps:
            hook.act(state)
    execute = execution(
        method, mesh, layout, steps_per_execution=steps_per_execution, examples=examples
    )
    meter = _Meter(seed=seed, log_every=log_every, last=steps, writers=writers)
    dues = [every for every in (checkpoint_every, *(hook.every for hook in hooks)) if every]
    pending: tuple[range, Metrics] | None = None
    step = int(state.step)
    with stop_signals() as stop:
        while step < steps:
            next_dues = (step + every - step % every for every in dues)
            last = min(step + steps_per_execution, steps, *next_dues)
            executed = range(step + 1, last + 1)
            with meter.waiting():
                batches = [next(iterator) for _ in executed]
            state, metrics = execute(state, batches, rng)
            if pending:
                meter.report(*pending)
            pending, step = (executed, metrics), last
            is_last = step == steps or bool(stop)
            due = [hook for hook in hooks if is_due(step, hook.every, last=step == steps)]
            saves = is_due(step, checkpoint_every, last=is_last) and checkpoints is not None
            if due or saves or is_last:
                meter.report(*pending)
                pending = None
                meter.check_params(step, state.params)
            # A step that is saved has had its hooks: a resumed run doesn't come back to it.
            for hook in due:
                with meter.pausing():
                    hook.act(state)
            if saves and checkpoints is not None:
                checkpoints.save(state, iterator, dict(manifest or {}))
            if is_last:
                break
        if checkpoints:
            checkpoints.wait()
    return state


def is_due(step: int, every: int, *, last: bool) -> bool:
    """True at every `every`-th step and at the last; `every=0` means at the last alone."""
    return last or (every > 0 and step % every == 0)


@contextlib.contextmanager
def stop_signals() -> Iterator[list[int]]:
    """A list that is empty until SIGTERM or Ctrl-C comes; the next of either acts as ever."""
    received: list[int] = []
    before: dict[int, Any] = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}

    def note(number: int, frame: Any) -> None:
        received.append(number)
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, note)
    try:
        yield received
    finally:
        restore()


class _Meter:
    """Checks every step's metrics, and writes those of every `log_every`-th with the pace."""

    def __init__(self, *, seed: int, log_every: int, last: int, writers: Sequence[Writer]):
        self._seed, self._log_every, self._last, self._writers = seed, log_every, last, writers
        self._waited, self._since, self._steps = 0.0, time.perf_counter(), 0

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Counts what runs inside as waiting for data."""
        start = time.perf_counter()
        yield
        self._waited += time.perf_counter() - start

    @contextlib.contextmanager
    def pausing(self) -> Iterator[None]:
        """Leaves the time of what runs inside out of the pace."""
        start = time.perf_counter()
        yield
        self._since += time.perf_counter() - start

    def report(self, steps: range, metrics: Metrics) -> None:
        """`metrics` hold a number for each of the steps, and perhaps more."""
        fetched = {name: np.ravel(value) for name, value in jax.device_get(metrics).items()}
        self._steps += len(steps)
        now = time.perf_counter()
        elapsed = now - self._since
        pace = {"steps_per_second": self._steps / elapsed, "data_wait": self._waited / elapsed}
        for place, step in enumerate(steps):
            values = {name: float(value[place]) for name, value in fetched.items()}
            bad = [f"{name} is {x}" for name, x in values.items() if not math.isfinite(x)]
            if bad:
                raise self._bad_step(step, ", ".join(bad))
            if is_due(step, self._log_every, last=step == self._last):
                for writer in self._writers:
                    writer.scalars(step, {**values, **pace})
                self._waited, self._since, self._steps = 0.0, now, 0

    def check_params(self, step: int, params: Params) -> None:
        """Metrics are of the parameters before a step; these are those after it."""
        leaves = jax.tree_util.tree_leaves_with_path(jax.device_get(_are_finite(params)))
        bad = [path for path, is_finite in leaves if not is_finite]
        if bad:
            first = jax.tree_util.keystr(bad[0], simple=True, separator="/")
            raise self._bad_step(step, f"{len(bad)} parameters are not finite, {first} the first")

    def _bad_step(self, step: int, what: str) -> InputError:
        return InputError(
            f"{what} at step {step} (batch {step - 1} of seed {self._seed}); nothing of this step "
            "is saved, the checkpoints hold good steps only"
        )


@jax.jit
def _are_finite(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.all(jnp.isfinite(leaf)), tree)
