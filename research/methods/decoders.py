"""Networks with a cache, as decoding sees them."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from kernels.machine import multiplied
from research.networks.encoder_decoder import Reading, Source
from research.sampling.decoding import Decoder
from research.training.types import Params


@functools.cache
def decoder(network: Any) -> Decoder:
    """The network as decoding sees it; its parameters are those of layers one by one."""
    return cached(
        network,
        lambda params: (params, ()),
        length=network.length,
        rewind=rewound if network.rewinds else None,
        grow=grown if network.rewinds else None,
    )


@functools.cache
def source_decoder(network: Any) -> Decoder:
    """The network as decoding sees it; its `params` are those, and the `source` that rows read."""

    def rewind(cache: Reading, lengths: Int[Array, " B"]) -> Reading:
        return dataclasses.replace(cache, written=rewound(cache.written, lengths))

    return cached(
        network,
        lambda given: (given["params"], (given["source"],)),
        length=network.target_length,
        rewind=rewind,
    )


def cached(
    network: Any, split: Callable[[Any], tuple[Params, tuple[Any, ...]]], **further: Any
) -> Decoder:
    """A decoder; `split` has the parameters of what it is given, and what else its steps read."""
    network = stepwise(network)

    def empty(batch: int, capacity: int) -> Any:
        return network.apply({}, batch, capacity, method="empty_cache")

    def extend(given: Any, cache: Any, tokens: Array, counts: Array) -> tuple[Array, Any]:
        params, read = split(given)
        return network.apply({"params": params}, tokens, counts, cache, *read, method="decode")

    def logits(given: Any, hidden: Array) -> Array:
        params, _ = split(given)
        return network.apply({"params": params}, hidden, method="logits")

    return Decoder(
        vocabulary=network.vocabulary,
        empty=empty,
        extend=extend,
        logits=logits,
        take=taken,
        **further,
    )


@functools.partial(jax.jit, static_argnames="network")
def remembered(
    network: Any, params: Params, inputs: Int[Array, "B S"], lengths: Int[Array, " B"]
) -> Source:
    """What all steps of decoding read of the inputs; they are encoded once."""

    def through(network: Any) -> Source:
        return network.remember(network.encode(inputs, lengths))

    return stepwise(network).apply({"params": params}, method=through)


def stepwise(network: Any) -> Any:
    """The network as it decodes: its parameters are those of layers one by one.

    Products and cache are in the dtype that the machine multiplies: in float32 no weight is rounded
    anew by each program.
    """
    if not hasattr(network, "scan"):
        return network
    return network.clone(
        scan=False, product_dtype=multiplied(network.product_dtype or network.dtype)
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
