"""Networks with a cache, as decoding sees them."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from research.sampling.decoding import Decoder
from research.training.types import Params


@functools.cache
def decoder(network: Any) -> Decoder:
    """The network as decoding sees it; its parameters are those of layers one by one."""
    network = network.clone(scan=False) if hasattr(network, "scan") else network

    def empty(batch: int, capacity: int) -> Any:
        return network.apply({}, batch, capacity, method="empty_cache")

    def extend(params: Params, cache: Any, tokens: Array, counts: Array) -> tuple[Array, Any]:
        return network.apply({"params": params}, tokens, counts, cache, method="decode")

    def logits(params: Params, hidden: Array) -> Array:
        return network.apply({"params": params}, hidden, method="logits")

    return Decoder(
        vocabulary=network.vocabulary,
        length=network.length,
        empty=empty,
        extend=extend,
        logits=logits,
        rewind=rewound if network.rewinds else None,
        take=taken,
        grow=grown if network.rewinds else None,
    )


def rewound(cache: Any, lengths: Int[Array, " B"]) -> Any:
    return dataclasses.replace(cache, lengths_B=lengths)


def grown(cache: Any, capacity: int) -> Any:
    """A cache of positions, the third axis of a layer's keys and values, with more of them."""

    def wider(array: Array) -> Array:
        if array.shape[2] == capacity:
            return array
        more = [(0, capacity - array.shape[2]) if axis == 2 else (0, 0) for axis in range(4)]
        return jnp.pad(array, more)

    return dataclasses.replace(cache, layers=jax.tree.map(wider, cache.layers))


def taken(cache: Any, index: Int[Array, " N"]) -> Any:
    """Rows of a cache, whose every array has the rows first."""
    return jax.tree.map(lambda array: array[index], cache)
