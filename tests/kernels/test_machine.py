"""Races in Pallas's interpreter of TPUs, and the same kernels without; what a CPU multiplies."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from kernels import machine
from kernels.machine import compiled_for, interpreted, multiplied, pallas_interpreter

X = np.arange(2 * 8 * 128, dtype="float32").reshape(2, 8, 128)
RACE = "a TPU kernel has a data race"


def copied(x, *, waits_first):
    """`x`, read from the buffer of a copy, before or after the wait for it."""

    def kernel(x_ref, out_ref, buffer, semaphore):
        copy = pltpu.make_async_copy(x_ref, buffer, semaphore)
        copy.start()
        if waits_first:
            copy.wait()
        out_ref[...] = buffer[...]
        if not waits_first:
            copy.wait()

    return pl.pallas_call(
        kernel,
        in_specs=[pl.BlockSpec(memory_space=pl.ANY)],
        out_shape=jax.ShapeDtypeStruct(x.shape, x.dtype),
        scratch_shapes=[pltpu.VMEM(x.shape, x.dtype), pltpu.SemaphoreType.DMA],
        interpret=pallas_interpreter(),
    )(x)


def added(x, *, axis, beyond=0):
    """The sum over `x`'s first axis, one program an entry, all of them into one block."""

    def kernel(x_ref, out_ref):
        @pl.when(pl.program_id(0) == 0)
        def start():
            out_ref[...] = jnp.zeros_like(out_ref)

        out_ref[...] += x_ref[0]

    return pl.pallas_call(
        kernel,
        grid=x.shape[:1],
        in_specs=[pl.BlockSpec((1, *x.shape[1:]), lambda i: (i + beyond, 0, 0))],
        out_specs=pl.BlockSpec(x.shape[1:], lambda i: (0, 0)),
        out_shape=jax.ShapeDtypeStruct(x.shape[1:], x.dtype),
        compiler_params=pltpu.CompilerParams(dimension_semantics=(axis,)),
        interpret=pallas_interpreter(),
    )(x)


def test_kernels_without_a_race():
    with interpreted("races"):
        np.testing.assert_array_equal(copied(X, waits_first=True), X)
        np.testing.assert_array_equal(added(X, axis="arbitrary"), X[0] + X[1])


@pytest.mark.parametrize(
    "racy",
    [functools.partial(copied, waits_first=False), functools.partial(added, axis="parallel")],
    ids=["read_before_the_wait", "two_programs_into_one_block"],
)
@pytest.mark.parametrize("jitted", [False, True])
def test_a_race_raises(racy, jitted):
    with pytest.raises(RuntimeError, match=RACE), interpreted("races"):
        (jax.jit(racy) if jitted else racy)(X)


def test_a_race_of_any_kernel_raises_and_only_once():
    """Pallas's own flag is that of the kernel that ran last."""
    with pytest.raises(RuntimeError, match=RACE), interpreted("races"):
        copied(X, waits_first=False)
        copied(X, waits_first=True)
    with interpreted("races"):
        copied(X, waits_first=True)


def test_an_access_out_of_bounds_raises():
    with pytest.raises(Exception, match="Out-of-bounds"), interpreted("races"):
        added(X, axis="arbitrary", beyond=1)
    with interpreted("races"):
        np.testing.assert_array_equal(added(X, axis="arbitrary"), X[0] + X[1])


def test_a_kernel_that_runs_outside_is_told():
    """Its race would be seen by nobody."""

    def traced_inside(x):
        with interpreted("races"):
            return copied(x, waits_first=True)

    with pytest.raises(Exception, match="runs outside"):
        jax.block_until_ready(jax.jit(traced_inside)(X))
    with interpreted("races"):
        np.testing.assert_array_equal(copied(X, waits_first=True), X)


def test_too_few_threads_are_told(monkeypatch):
    """The simulated cores would wait for ever."""
    monkeypatch.setenv("NPROC", "1")
    with pytest.raises(ValueError, match="or NPROC=2 before JAX starts"), interpreted("races"):
        pass


def test_a_cpu_without_bfloat16_multiplies_float32(monkeypatch):
    monkeypatch.setattr(machine, "multiplies_bfloat16", lambda: False)
    assert multiplied("bfloat16") == jnp.float32 and multiplied("float16") == jnp.float16
    with compiled_for("tpu-v5e"):
        assert multiplied("bfloat16") == jnp.bfloat16
    monkeypatch.setattr(machine, "multiplies_bfloat16", lambda: True)
    assert multiplied(jnp.bfloat16) == jnp.bfloat16
