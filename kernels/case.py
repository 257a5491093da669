"""A named call of a kernel: what tests, benchmarks, compilers and the tuner take as examples."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from kernels.dispatch import Implementation
from kernels.roofline import Work

type Drawing = Callable[[jax.Array], jax.Array]  # of a random key


@dataclasses.dataclass(frozen=True)
class Case:
    """`function(*arrays, **settings, implementation=...)`, and its gradient by `gradient`'s arrays.

    Cases for a CPU alone are named cpu_... in a kernel's `CASES`. `arrays` are shapes and dtypes;
    `draw` fills floats with normal noise, and others by `draws`, functions of a key by position.
    """

    function: Callable[..., Any]
    arrays: tuple[jax.ShapeDtypeStruct, ...]
    work: Work
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    gradient: tuple[int, ...] = ()
    draws: Mapping[int, Drawing] = dataclasses.field(default_factory=dict)

    def call(self, implementation: Implementation) -> Callable[..., Any]:
        """The call as a function of its arrays; with `gradient`, of the value and the gradients."""

        def value(*arrays: jax.Array) -> Any:
            return self.function(*arrays, **self.settings, implementation=implementation)

        def value_and_gradient(*arrays: jax.Array) -> Any:
            out, pull = jax.vjp(
                lambda *moved: value(*self.replaced(arrays, moved)),
                *(arrays[i] for i in self.gradient),
            )
            return out, pull(out)

        return value_and_gradient if self.gradient else value

    def by(self, peer: Callable[..., Any]) -> "Case":
        """The same case of someone else's function, which takes no `implementation`."""

        def function(*arrays: jax.Array, implementation: Implementation, **settings: Any) -> Any:
            return peer(*arrays, **settings)

        return dataclasses.replace(self, function=function)

    def replaced(self, arrays: tuple[jax.Array, ...], moved: tuple[jax.Array, ...]) -> list[Any]:
        by_index = dict(zip(self.gradient, moved, strict=True))
        return [by_index.get(i, array) for i, array in enumerate(arrays)]

    def draw(self, seed: int = 0) -> list[jax.Array]:
        """Random arguments, the same for a seed."""
        rngs = jax.random.split(jax.random.key(seed), len(self.arrays))
        return [
            self.one(i, like, rng)
            for i, (like, rng) in enumerate(zip(self.arrays, rngs, strict=True))
        ]

    def one(self, index: int, like: jax.ShapeDtypeStruct, rng: jax.Array) -> jax.Array:
        if jnp.issubdtype(like.dtype, jnp.floating):
            return jax.random.normal(rng, like.shape).astype(like.dtype)
        return self.draws[index](rng).astype(like.dtype)
