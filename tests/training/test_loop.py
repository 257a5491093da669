"""The loop: it resumes bit for bit, compiles once, and keeps nothing of a bad step."""

import functools
import itertools
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from research.errors import InputError
from research.training import loop
from research.training.checkpoints import Checkpoints, steps
from research.training.logs import Writer
from research.training.loop import Hook, stop_signals
from research.training.optimizers import averaged
from research.training.rng import named
from research.training.state import sha256
from tests.training.regression import SLOPE, Regression, fit, iterator


class Recorder(Writer):
    """Keeps what it is told."""

    def __init__(self):
        self.lines = []

    def scalars(self, step, values):
        self.lines.append((step, dict(values)))


def test_it_learns_and_averages():
    state = fit(steps=300)
    found = state.params["model"]["w"] @ state.params["model"]["v"]
    np.testing.assert_allclose(found, SLOPE, atol=0.1)
    assert int(state.step) == 300
    live, average = state.params["model"]["w"], averaged(state, "model")["w"]
    assert np.abs(live - average).max() > 0
    np.testing.assert_allclose(live, average, atol=0.1)
    assert averaged(state, "scale") is state.params["scale"]


def test_each_objective_plays_its_repeats():
    assert int(fit(steps=5).extra["plays"]) == 5 * (1 + 2)


def test_an_objective_moves_only_its_own_group():
    method = Regression()
    batch = next(iterator())
    before = method.init(jax.random.key(0), batch)
    objective = method.objectives()[1]
    from research.training.method import play

    after, _ = play(objective, before, batch, jax.random.key(1))
    assert sha256(after.params["model"]) == sha256(before.params["model"])
    assert sha256(after.params["scale"]) != sha256(before.params["scale"])


def test_the_logged_norm_is_the_gradients():
    method, batch, rng = Regression(), next(iterator()), jax.random.key(1)
    state = method.init(jax.random.key(0), batch)
    _, logged = method.step(state, batch, rng)
    loss = lambda params: method.model_loss(params, state, batch, named(rng, "model"))  # noqa: E731
    gradient, _ = jax.grad(loss, has_aux=True)(state.params["model"])
    expected = np.sqrt(sum(np.sum(np.square(leaf)) for leaf in gradient.values()))
    np.testing.assert_allclose(logged["model/grad_norm"], expected, rtol=1e-5)


at_once = pytest.mark.parametrize("at_once", [1, 4])


@pytest.mark.parametrize("on_devices", [False, True])
@at_once
@pytest.mark.parametrize("stop", [1, 7, 10])
def test_resuming_is_bit_exact(tmp_path, stop, at_once, on_devices):
    fitted = functools.partial(fit, steps_per_execution=at_once, on_devices=on_devices)
    whole = fitted(steps=20)
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=2)
    fitted(steps=stop, checkpoints=checkpoints, checkpoint_every=5)
    checkpoints.close()
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=2)
    assert checkpoints.latest == stop
    resumed = fitted(steps=20, checkpoints=checkpoints, checkpoint_every=5)
    checkpoints.close()
    assert sha256(resumed) == sha256(whole)


def test_the_seed_matters():
    first, again, other = (sha256(fit(steps=2, seed=seed)) for seed in (0, 0, 1))
    assert first == again != other


def test_steps_executed_at_once_are_those_executed_one_by_one():
    one, many = (fit(steps=21, steps_per_execution=count) for count in (1, 8))
    assert int(many.step) == 21 and int(many.extra["plays"]) == int(one.extra["plays"])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        (one.params, one.opt_state),
        (many.params, many.opt_state),
    )


@pytest.mark.parametrize("at_once", [1, 8])
def test_examples_kept_on_the_devices_are_those_of_the_batches(at_once):
    from_host, kept = (
        fit(steps=21, steps_per_execution=at_once, on_devices=on_devices)
        for on_devices in (False, True)
    )
    assert int(kept.step) == 21
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7),
        (from_host.params, from_host.opt_state),
        (kept.params, kept.opt_state),
    )


def test_hooks_see_their_own_steps_whatever_is_executed_at_once():
    seen = []
    hooks = [Hook(every, lambda state: seen.append(int(state.step))) for every in (3, 5)]
    fit(steps=11, steps_per_execution=4, hooks=hooks)
    assert seen == [3, 5, 6, 9, 10, 11, 11]


def test_less_than_one_step_at_once_is_refused():
    with pytest.raises(InputError, match="steps_per_execution is 0; 1 is the least"):
        fit(steps=2, steps_per_execution=0)


@at_once
def test_one_compilation_a_run(at_once):
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, seconds, **_: compiled.append(event) if "backend_compile" in event else None
    )
    counts = []
    count = Hook(3, lambda state: counts.append(len(compiled)))
    fit(steps=20, steps_per_execution=at_once, hooks=[count])
    assert counts[0] > 0
    assert counts[-1] == counts[0]


@at_once
def test_metrics_of_every_step_in_order(at_once):
    recorder = Recorder()
    fit(steps=7, steps_per_execution=at_once, writers=[recorder], log_every=2)
    assert [step for step, _ in recorder.lines] == [2, 4, 6, 7]
    assert {"model/loss", "scale/grad_norm", "data_wait"} <= recorder.lines[0][1].keys()
    every = Recorder()
    fit(steps=7, steps_per_execution=at_once, writers=[every], log_every=1)
    logged = dict(every.lines)
    assert recorder.lines[1][1]["model/loss"] == logged[4]["model/loss"]


@at_once
def test_every_step_draws_its_own_numbers(at_once):
    class Drawing(Regression):
        def model_loss(self, params, state, batch, rng):
            error, aux = super().model_loss(params, state, batch, rng)
            return error, aux.replace(metrics={"drawn": jax.random.uniform(rng)})

    recorder = Recorder()
    fit(steps=7, method=Drawing(), steps_per_execution=at_once, writers=[recorder], log_every=1)
    assert len({values["model/drawn"] for _, values in recorder.lines}) == 7


def test_lines_of_one_execution_have_its_pace():
    recorder = Recorder()
    fit(steps=16, steps_per_execution=8, writers=[recorder], log_every=2)
    paces = [values["steps_per_second"] for _, values in recorder.lines]
    assert len(paces) == 8
    assert paces[:4] == paces[:1] * 4 and paces[4:] == paces[4:5] * 4


def test_a_run_killed_in_a_hook_comes_back_to_it(tmp_path):
    """What hooks make of a saved step is there, or is made again."""
    acted = []

    def killed(state):
        raise KeyboardInterrupt

    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=2)
    with pytest.raises(KeyboardInterrupt):
        fit(steps=9, checkpoints=checkpoints, checkpoint_every=3, hooks=[Hook(6, killed)])
    checkpoints.close()
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=2)
    hook = Hook(6, lambda state: acted.append(int(state.step)))
    fit(steps=9, checkpoints=checkpoints, checkpoint_every=3, hooks=[hook])
    checkpoints.close()
    assert acted == [6, 9]


def test_a_hook_that_can_not_act_is_told_before_a_run_goes_on(tmp_path):
    acted = []
    hook = Hook(0, lambda state: acted.append(int(state.step)), at_start=True)
    for stop in (4, 8, 8):
        checkpoints = Checkpoints(tmp_path / "checkpoints", keep=2)
        fit(steps=stop, checkpoints=checkpoints, checkpoint_every=0, hooks=[hook])
        checkpoints.close()
    assert acted == [0, 4, 4, 8]  # a run that is through has nothing to lose


@at_once
def test_a_non_finite_step_is_named_and_never_saved(tmp_path, at_once):
    fitted = functools.partial(fit, steps_per_execution=at_once)
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=9)
    with pytest.raises(InputError, match=r"model/loss is nan.* at step 8 \(batch 7 of seed 0\)"):
        fitted(steps=20, poison_at=7, checkpoints=checkpoints, checkpoint_every=3)
    checkpoints.close()
    good = Checkpoints(tmp_path / "checkpoints", keep=9)
    assert good.latest == 6
    resumed = fitted(steps=6, checkpoints=good)
    good.close()
    assert sha256(resumed) == sha256(fitted(steps=6))


class OnePlayer(Regression):
    def objectives(self):
        return super().objectives()[:1]


@at_once
def test_parameters_that_are_not_finite_are_named_and_never_saved(tmp_path, at_once):
    """Step 6 has finite metrics, and an update of infinity."""
    rate = lambda moves: jnp.where(moves == 5, jnp.inf, 0.01)  # noqa: E731
    method = OnePlayer(optax.sgd(rate))
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=9)
    options = dict(method=method, checkpoints=checkpoints, checkpoint_every=3)
    with pytest.raises(InputError, match=r"2 parameters are.*, model/v the first at step 6 "):
        fit(steps=20, steps_per_execution=at_once, **options)
    checkpoints.close()
    assert steps(tmp_path / "checkpoints") == [3]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_returns(tmp_path, number):
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=2)
    handler = signal.getsignal(number)
    kick = Hook(1, lambda state: os.kill(os.getpid(), number) if int(state.step) == 4 else None)
    state = fit(steps=20, checkpoints=checkpoints, checkpoint_every=100, hooks=[kick])
    checkpoints.close()
    assert int(state.step) == 5 == checkpoints.latest
    assert signal.getsignal(number) == handler


@pytest.fixture
def interruptible():
    """Ctrl-C raises, as it does unless a shell started the tests in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_of_either_kind_ends_the_process(first, interruptible):
    with stop_signals() as received:
        os.kill(os.getpid(), first)
        assert received == [first]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_signal_during_the_last_save_does_not_lose_it(tmp_path, monkeypatch):
    def interrupted(checkpoints):
        os.kill(os.getpid(), signal.SIGINT)
        wait(checkpoints)

    wait = Checkpoints.wait
    monkeypatch.setattr(Checkpoints, "wait", interrupted)
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=2)
    assert int(fit(steps=3, checkpoints=checkpoints).step) == 3
    checkpoints.close()
    assert steps(tmp_path / "checkpoints") == [3]


def test_the_pace_is_without_the_hooks_time(monkeypatch):
    """By a clock that goes on by 10 ms when it is read, and by 100 s in a hook."""
    now = itertools.count(step=10)
    monkeypatch.setattr(loop.time, "perf_counter", lambda: next(now) / 1000)
    recorder, second = Recorder(), Hook(2, lambda state: [next(now) for _ in range(10_000)])
    fit(steps=6, writers=[recorder], log_every=2, hooks=[second])
    assert min(values["steps_per_second"] for _, values in recorder.lines[1:]) > 4
