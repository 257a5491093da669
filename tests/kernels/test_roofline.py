"""Flops are counted as they are done; a floor is the higher of two walls."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import pallas as pl

from kernels.attention.shapes import flops as attention_flops
from kernels.estimate import estimated
from kernels.machine import compiled_for
from kernels.profile import cases_of, hand_written, kernel_names
from kernels.roofline import Work, product_flops
from kernels.targets import TARGETS, of_device

ON_GPU = [
    (kernel, name)
    for kernel in kernel_names()
    if hand_written(kernel, "gpu-sm90")
    for name, case in cases_of(kernel, on_cpu=False).items()
    if case.settings.get("method") != "gumbel"  # XLA's
]


def flops(function, *shapes, dtype="float32"):
    arrays = [jax.ShapeDtypeStruct(shape, dtype) for shape in shapes]
    return product_flops(jax.make_jaxpr(function)(*arrays).jaxpr)


def test_of_a_batched_product():
    counted = flops(lambda a, b: jnp.einsum("bij,bjk->bik", a, b), (5, 2, 3), (5, 3, 7))
    assert counted == (2 * 5 * 2 * 3 * 7, "float32")


def conv(x, w, stride=1):
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, w, (stride, stride), "SAME", dimension_numbers=numbers)


@pytest.mark.parametrize("stride", [1, 2])
def test_of_a_convolution_and_its_gradients(stride):
    """Each gradient does what the forward pass does, zeros of a stride left out."""
    x, w = (3, 8, 8, 5), (3, 3, 5, 7)
    forward = 2 * 3 * (8 // stride) ** 2 * 7 * 9 * 5
    assert flops(lambda x, w: conv(x, w, stride), x, w)[0] == forward

    def gradients(x, w):
        return jax.grad(lambda x, w: conv(x, w, stride).sum(), (0, 1))(x, w)

    assert flops(gradients, x, w)[0] == pytest.approx(3 * forward, rel=1e-6)


def test_a_scan_counts_its_trips_and_a_condition_its_larger_branch():
    def looped(a):
        return jax.lax.scan(lambda c, _: (c @ c, None), a, length=6)[0]

    def branched(a):
        return jax.lax.cond(a[0, 0] > 0, lambda a: a @ a @ a, lambda a: a, a)

    assert flops(looped, (4, 4))[0] == 6 * 2 * 4**3
    assert flops(branched, (4, 4))[0] == 2 * 2 * 4**3


def test_the_dtype_is_that_of_most_flops():
    def mixed(a):
        return (a @ a).astype(jnp.bfloat16) @ jnp.ones((4, 400), jnp.bfloat16)

    assert flops(mixed, (4, 4))[1] == "bfloat16"


@pytest.mark.parametrize("dtypes", [("bfloat16", "int32"), ("int32", "bfloat16", "float32")])
def test_a_pallas_kernel_counts_its_estimate_by_its_first_factor(dtypes):
    kernel = pl.pallas_call(
        lambda *refs: None,
        out_shape=jax.ShapeDtypeStruct((8,), "float32"),
        cost_estimate=pl.CostEstimate(flops=40, transcendentals=0, bytes_accessed=0),
    )
    arrays = [jax.ShapeDtypeStruct((8,), dtype) for dtype in dtypes]
    assert product_flops(jax.make_jaxpr(kernel)(*arrays).jaxpr) == (40, "bfloat16")


def test_a_launch_counts_the_note_that_stands_before_it():
    """As often as it runs; what a compiler is given doesn't know of it."""

    def launched(q, ids):
        q, ids = estimated([q, ids], 40.0)
        return q.sum() + ids.sum()

    def looped(q, ids):
        return jax.lax.scan(lambda total, _: (total + launched(q, ids), None), 0.0, length=3)[0]

    q = jax.ShapeDtypeStruct((2, 8), "bfloat16")
    ids = jax.ShapeDtypeStruct((8,), "int32")
    mapped = jax.vmap(launched, (0, None))
    for function, counted in ((launched, 40), (looped, 120), (mapped, 80)):
        traced = jax.jit(jax.checkpoint(function)).trace(q, ids)
        assert product_flops(traced.jaxpr.jaxpr) == (counted, "bfloat16")
        assert "estimate" not in traced.lower().as_text()
    assert jax.jit(mapped)(jnp.ones((2, 8)), jnp.ones(8, "int32")).tolist() == [16, 16]


@pytest.mark.parametrize(("kernel", "name"), ON_GPU)
def test_kernels_of_a_gpu_count_what_their_case_must_do(kernel, name):
    """Attention's backward pass also has a product a query of XLA's."""
    case = cases_of(kernel, on_cpu=False)[name]
    with compiled_for("gpu-sm90"):
        traced = jax.make_jaxpr(case.call("auto"))(*case.arrays)
    counted, dtype = product_flops(traced.jaxpr)
    assert counted == pytest.approx(case.work.flops, rel=1e-3)
    assert dtype == case.arrays[0].dtype.name


@pytest.mark.parametrize("limits", [(None, None), (None, 0), (3, 2), (0, None)], ids=str)
@pytest.mark.parametrize("keys", [5, 9, 20])
def test_attention_counts_keys_that_a_query_sees(keys, limits):
    left, right = (99 if limit is None else limit for limit in limits)
    ahead = np.arange(keys)[None, :] - np.arange(9)[:, None]
    pairs = np.sum((-left <= ahead) & (ahead <= right))
    assert attention_flops("forward", (2, 9, 3, 8), keys, *limits) == 4 * 2 * 3 * 8 * pairs


def test_the_floor_is_the_higher_wall():
    h100 = TARGETS["gpu-sm90"]
    assert Work(989e12, 1.0, "bfloat16").floor(h100) == (1.0, "compute")
    assert Work(1.0, 3350e9, "bfloat16").floor(h100) == (1.0, "memory")
    assert Work(989e12, 1.0, "float16").floor(h100) == (1.0, "compute")
    assert Work(67e12, 1.0, "float64").floor(h100) == (1.0, "compute")
    h200 = of_device("NVIDIA H200")
    assert h200.name == "gpu-sm90"
    assert Work(1.0, 4800e9, "bfloat16").floor(h200) == (1.0, "memory")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("NVIDIA H100 80GB HBM3", "gpu-sm90"),
        ("TPU v5", "tpu-v5p"),
        ("TPU v5 lite", "tpu-v5e"),
        ("TPU v6 lite", "tpu-v6e"),
        ("NVIDIA A100-SXM4-40GB", "gpu-sm80"),
    ],
)
def test_devices_are_known_by_name(kind, name):
    assert of_device(kind).name == name
    assert of_device("cpu") is None


@pytest.mark.parametrize(
    ("kind", "bandwidth", "bf16", "f32"),
    [
        ("NVIDIA H100 80GB HBM3", 3350e9, 989e12, 67e12),
        ("NVIDIA H100 PCIe", 2000e9, 756e12, 51e12),
        ("NVIDIA H100 NVL", 3900e9, 835e12, 60e12),
        ("NVIDIA H200", 4800e9, 989e12, 67e12),
        ("NVIDIA H200 NVL", 4800e9, 835e12, 60e12),
        ("NVIDIA A100-SXM4-80GB", 2039e9, 312e12, 19.5e12),
        ("NVIDIA A100 80GB PCIe", 1935e9, 312e12, 19.5e12),
        ("NVIDIA A100-PCIE-40GB", 1555e9, 312e12, 19.5e12),
    ],
)
def test_a_card_has_its_own_figures(kind, bandwidth, bf16, f32):
    card = of_device(kind)
    assert card.bandwidth == bandwidth
    assert (card.rate("bfloat16"), card.rate("float32")) == (bf16, f32)
