"""One way to launch a Triton kernel: jax-triton on a GPU, Triton's interpreter, or a note of it."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kernels.estimate import estimated
from kernels.machine import machine


@dataclasses.dataclass(frozen=True)
class Launch:
    """What a compiler needs to know of a launch."""

    kernel: Any
    dtypes: tuple[str, ...]
    constants: dict[str, Any]
    grid: tuple[int, ...]
    num_warps: int
    num_stages: int


RECORDED: list[Launch] = []


def triton_call(
    *arrays: jax.Array,
    kernel: Any,
    out: Sequence[jax.ShapeDtypeStruct],
    grid: tuple[int, ...],
    flops: float,
    num_warps: int = 4,
    num_stages: int = 2,
    **constants: Any,
) -> list[jax.Array]:
    """The outputs that `kernel` writes: its parameters are `arrays`, then `out`, then `constants`.

    `kernel` is a `triton.jit` function whose parameters are pointers and, by name, constexprs
    (sizes and strides too). `flops` are what it must do, the first array a factor (`estimated`).
    Under `jax.vmap` there is a launch for each of a batch, one after the other.
    Where launches are recorded (kernels.machine.compiled_for) the outputs are zeros. Triton's
    interpreter runs over numpy, float32 and float16 alone: its bfloat16 is silently wrong, so such
    arrays go in and out as float32.
    """
    given = estimated(arrays, flops)
    here = machine()
    if here.recording:
        dtypes = (*(x.dtype.name for x in given), *(x.dtype.name for x in out))
        RECORDED.append(Launch(kernel, dtypes, constants, grid, num_warps, num_stages))
        return [jnp.zeros(x.shape, x.dtype) for x in out]
    if here.interpreted:
        return interpret(given, kernel, out, grid, constants)
    import jax_triton

    @jax.custom_batching.sequential_vmap  # jax-triton has no batching of its own
    def launch(*given: jax.Array) -> list[jax.Array]:
        return jax_triton.triton_call(
            *given,
            kernel=kernel,
            out_type=list(out),
            grid=grid,
            num_warps=num_warps,
            num_stages=num_stages,
            **constants,
        )

    return launch(*given)


def interpret(
    arrays: Sequence[jax.Array],
    kernel: Any,
    out: Sequence[jax.ShapeDtypeStruct],
    grid: tuple[int, ...],
    constants: dict[str, Any],
) -> list[jax.Array]:
    """`triton_call` by Triton's interpreter, in a host callback."""
    if not hasattr(kernel, "rewrite"):
        raise ValueError("set TRITON_INTERPRET=1 before Triton kernels are imported")
    exact = [upcast(x.dtype) for x in out]

    def on_host(*inputs: Any) -> tuple[np.ndarray, ...]:
        given = [np.ascontiguousarray(np.asarray(x)) for x in inputs]
        # What a kernel fails to write must show.
        made = [np.full(x.shape, poison(d), d) for x, d in zip(out, exact, strict=True)]
        kernel[grid](*map(Tensor, (*given, *made)), **constants)
        return tuple(made)

    shapes = [jax.ShapeDtypeStruct(x.shape, d) for x, d in zip(out, exact, strict=True)]
    upcasted = [x.astype(upcast(x.dtype)) for x in arrays]
    found = jax.pure_callback(on_host, tuple(shapes), *upcasted, vmap_method="sequential")
    return [y.astype(x.dtype) for x, y in zip(out, found, strict=True)]


def upcast(dtype: Any) -> Any:
    return np.dtype(np.float32) if dtype == jnp.bfloat16 else np.dtype(dtype)


def poison(dtype: np.dtype) -> float | int:
    return math.nan if np.issubdtype(dtype, np.floating) else -(2**7)


class Tensor:
    """As much of a torch tensor as Triton's interpreter asks for, over a numpy array."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.shape = array.shape
        self.dtype = f"torch.{array.dtype}"

    def data_ptr(self) -> int:
        return self.array.ctypes.data

    def untyped_storage(self) -> "Tensor":
        return self

    def cpu(self) -> "Tensor":
        return self

    def copy_(self, other: "Tensor") -> None:
        assert other.array is self.array

    def storage_offset(self) -> int:
        return 0

    def size(self) -> tuple[int, ...]:
        return self.shape

    def stride(self) -> tuple[int, ...]:
        return tuple(n // self.array.itemsize for n in self.array.strides)

    def new_empty(self, size: int, device: str) -> "Tensor":
        return Tensor(np.empty(size, self.array.dtype))

    def set_(self, storage: "Tensor", offset: int, size: Any, stride: Any) -> "Tensor":
        self.array = storage.array
        return self
