"""What attention heads look at, and how much of it is what an induction head looks at."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from research.networks.transformer import Transformer
from research.networks.transformer_block import SelfAttention


def attention_weights(
    network: Transformer, params: Any, tokens: Int[Array, "B T"]
) -> Float[Array, "L B H T T"]:
    """Each head's weights, from a query (first) to keys, of a decoder with norms before its layers.

    They are made again of what the network shows: the output of each layer's first norm is what
    its attention reads. The kernels keep no weights.
    """
    _, shown = network.apply(
        {"params": params},
        tokens,
        capture_intermediates=lambda module, method: module.name == "attention_norm",
        mutable=["intermediates"],
    )
    places = jnp.arange(tokens.shape[1])[None]
    distance_1xTxT = places[:, None] - places[..., None]
    bias: Any = network.apply({"params": params}, distance_1xTxT, method="relative_bias")
    layers = []
    for number in range(network.layers):
        block = f"block{number}"
        ((normed, _),) = shown["intermediates"][block]["attention_norm"]["__call__"]
        own = {"params": params[block]["attention"]}
        attention = SelfAttention(network.layer())
        projected: Any = attention.apply(own, normed, places, method="project")
        q, k, _ = projected
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) / jnp.sqrt(q.shape[-1])
        scores = scores if bias is None else scores + bias
        seen = jnp.tril(jnp.ones(scores.shape[-2:], bool))
        layers.append(jax.nn.softmax(jnp.where(seen, scores, -jnp.inf)))
    return jnp.stack(layers)


def prefix_matching(
    weights: Float[Array, "L B H T T"], period: int, *, distance: int = 1
) -> Float[np.ndarray, "L H"]:
    """The weight that queries after the first period give to what followed their token before.

    The mean over queries and rows; of a query at i these are the places i - m period + 1, m = 1,
    2, ... (the paper's prefix-matching score, on tokens that repeat). With a `distance` what came
    so many tokens after in the place of what followed.
    """
    looked_for = followers(weights.shape[-1], period, distance=distance)
    found = jnp.sum(weights * looked_for, axis=-1)[..., period:]
    return np.asarray(jnp.mean(found, axis=(1, 3)))


def matching_by_distance(
    weights: Float[Array, "L B H T T"], period: int
) -> Float[np.ndarray, "D L H"]:
    """`prefix_matching` at every distance from 1 to `period - 1`.

    A head whose keys know the token `distance` before them finds its token by looking so far behind
    where it stood; the paper's heads look at 1.
    """
    return np.stack([prefix_matching(weights, period, distance=d) for d in range(1, period)])


def uniform_prefix_matching(length: int, period: int) -> float:
    """The same of a head that looks at all alike."""
    share = followers(length, period).sum(axis=1) / (np.arange(length) + 1)
    return float(share[period:].mean())


def followers(length: int, period: int, *, distance: int = 1) -> Float[np.ndarray, "T T"]:
    """1 where a key is `distance` after an earlier occurrence of the query's token."""
    query, key = np.arange(length)[:, None], np.arange(length)
    occurrence = key - distance
    return ((occurrence >= 0) & (query > occurrence) & ((query - occurrence) % period == 0)).astype(
        np.float32
    )
