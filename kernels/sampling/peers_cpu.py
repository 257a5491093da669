"""What sampling is timed against: the way it is commonly written in JAX."""

import functools

import jax
import jax.numpy as jnp


@functools.partial(jax.jit, static_argnames=("temperature", "top_k", "top_p", "min_p"))
def sort_and_categorical(
    logits_BxV: jax.Array,
    rng: jax.Array,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> jax.Array:
    """Masks by a sorted threshold a filter, then jax.random.categorical; tokens alone.

    Ties with a threshold are kept. Without filters it is jax.random.categorical.
    """
    logits_BxV = logits_BxV.astype(jnp.float32)
    if temperature == 0:
        return jnp.argmax(logits_BxV, axis=1)
    logits_BxV = logits_BxV / temperature
    if top_k is not None:
        lowest_Bx1 = jax.lax.top_k(logits_BxV, top_k)[0][:, -1:]
        logits_BxV = jnp.where(logits_BxV >= lowest_Bx1, logits_BxV, -jnp.inf)
    if top_p is not None:
        sorted_BxV = jnp.sort(logits_BxV, axis=1, descending=True)
        mass_BxV = jnp.cumsum(jax.nn.softmax(sorted_BxV, axis=1), axis=1)
        last_Bx1 = jnp.sum(mass_BxV < top_p, axis=1, keepdims=True)
        lowest_Bx1 = jnp.take_along_axis(sorted_BxV, last_Bx1, axis=1, mode="clip")
        logits_BxV = jnp.where(logits_BxV >= lowest_Bx1, logits_BxV, -jnp.inf)
    if min_p is not None:
        lowest_Bx1 = jnp.max(logits_BxV, axis=1, keepdims=True) + jnp.log(min_p)
        logits_BxV = jnp.where(logits_BxV >= lowest_Bx1, logits_BxV, -jnp.inf)
    return jax.random.categorical(rng, logits_BxV)


PEERS = {"sort_and_categorical": sort_and_categorical}


def takes(case: str) -> bool:
    """Whether the peers take a case of shapes.py: they draw one way."""
    return case != "gumbel_64"
