"""Attention on Hopper in JAX's GPU interpreter, in blocks so small that each call has several.

The interpreter needs more threads than a small machine's JAX has, and with more threads the sums of
other tests round differently: there a process of its own runs this file.
"""

import contextlib
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from kernels.attention import attention, mosaic_gpu
from kernels.attention import reference as truth
from kernels.attention.api import checked
from kernels.blocks import tried
from kernels.machine import compiled_for, interpreted
from kernels.mosaic_gpu_call import THREADS, too_few_threads
from tests.kernels.attention_suite import BandSuite, arrays, close

slow = pytest.mark.slow
TRITONS = dict(block_q=64, block_k=32, num_warps=4, num_stages=1)
SMALL = {"forward d128": dict(block_k=64, stages=2), "dq d128": TRITONS, "dkv d128": TRITONS}


@contextlib.contextmanager
def in_small_blocks():
    with tried(SMALL), interpreted("races"):
        yield


@pytest.mark.skipif(too_few_threads() is not None, reason="run by the test below this class")
class TestMosaicGpu(BandSuite):
    backend = "mosaic_gpu"
    size = 128
    dtype = "float16"
    tolerance = 2e-3  # products and an output of float16

    def inside(self):
        return in_small_blocks()

    def agree(self, given, tolerance=None, **settings):
        """The output and the log-sum-exp; the gradients that are made of them are Triton's."""
        call = checked_call(*given, **settings)
        with self.inside():
            out, lse = jax.block_until_ready(mosaic_gpu.forward(*call))
        exact = jax.tree.map(lambda x: x.astype("float32"), call[0])
        expected, expected_lse = truth.forward(exact, call[1])
        close(out, expected, tolerance or self.tolerance, "out")
        np.testing.assert_allclose(lse, expected_lse, atol=2e-6, rtol=2e-6)
        assert not races_found()

    def test_gradient(self):
        given = self.arrays(batch=1, queries=131, keys=67, heads=4, key_heads=2)
        super().agree(given, causal=True)

    @pytest.mark.parametrize("window", [(64, 63), (63, 65), (130, None)], ids=str)
    def test_bands_that_end_at_a_block_or_beside_one(self, window):
        self.agree(self.arrays(batch=1, heads=1, queries=260, keys=321), window=window)

    def test_queries_that_see_no_key_get_zero(self):
        self.agree(self.arrays(batch=1, queries=200, keys=40), window=(10, None))


@pytest.mark.skipif(too_few_threads() is None, reason="run in this process")
@pytest.mark.parametrize("chosen", ["plain or odd or causal", pytest.param("", marks=slow)])
def test_with_threads_enough(chosen):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", f"{__file__}::TestMosaicGpu"]
    command += ["-k", chosen]
    environment = os.environ | {"NPROC": str(THREADS)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-8000:]
    assert " passed" in done.stdout and "skipped" not in done.stdout


BIAS, SEGMENTS = np.zeros((90, 90), "float32"), np.zeros((2, 90), "int32")


@pytest.mark.parametrize(
    ("sizes", "settings", "reason"),
    [
        (dict(dtype="float32"), {}, "takes bfloat16 and float16, got float32"),
        (dict(size=64), {}, "takes a head size of 128, got 64"),
        ({}, dict(softcap=30.0), "takes no softcap"),
        ({}, dict(scale=0.0), "scales above 0"),
        ({}, dict(bias=BIAS), "takes no bias"),
        ({}, dict(segment_ids=SEGMENTS), "no segment_ids"),
    ],
)
def test_what_it_does_not_take_is_named(sizes, settings, reason):
    given = arrays(**(dict(size=128, dtype="bfloat16") | sizes))
    with compiled_for("gpu-sm90"), pytest.raises(ValueError, match=f"mosaic_gpu: .*{reason}"):
        attention(*given, **settings, implementation="mosaic_gpu")


def test_too_few_threads_for_the_interpreter_are_told(monkeypatch):
    """It would wait for ever."""
    monkeypatch.setenv("NPROC", "2")
    with interpreted(), pytest.raises(ValueError, match="or NPROC=8 before JAX starts"):
        attention(*arrays(size=128, dtype="float16"), implementation="mosaic_gpu")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, (16.0,)),
        (dict(causal=True), (7.5, 1.0)),
        (dict(causal=True, window=256), (0.875, 0.9375, 1.0)),
    ],
)
def test_blocks_outside_the_band_are_not_visited(settings, expected):
    x = jax.ShapeDtypeStruct((1, 2048, 2, 128), "bfloat16")
    with compiled_for("gpu-sm90"):
        call = mosaic_gpu.call_of(*checked_call(x, x, x, **settings))
    assert mosaic_gpu.trips(call) == expected


@pytest.mark.parametrize("keys", [1, 127, 128, 129, 640])
@pytest.mark.parametrize("settings", [{}, dict(causal=True), dict(window=(64, 5))], ids=str)
def test_no_block_is_beyond_the_keys(keys, settings):
    """The copies would fill it with zeros, and a mask hide them: only time would be lost."""
    q, k = (jax.ShapeDtypeStruct((1, n, 2, 128), "bfloat16") for n in (300, keys))
    with compiled_for("gpu-sm90"):
        call = mosaic_gpu.call_of(*checked_call(q, k, k, **settings))
    for tile in range(call.tiles):
        start, inner, outer, stop = map(int, mosaic_gpu.reach(call, tile * call.rows))
        assert start <= inner <= outer <= stop or start == stop
        assert start == stop or (stop - 1) * call.block_k < keys


def checked_call(q, k, v, *, causal=False, window=None, scale=None):
    return checked(q, k, v, causal, window, None, None, None, scale)


def races_found():
    from jax._src.pallas.mosaic_gpu.interpret import gpu_callbacks

    return gpu_callbacks.get_races().races_found
