"""Which tokens may be drawn and how likely: what strategies ask of `kernels.sampling`."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from kernels import sampling
from kernels.sampling import min_p_filter, top_k_filter, top_p_filter
from research.errors import InputError


@dataclasses.dataclass(frozen=True)
class Filters:
    """The filters of `kernels.sampling.sample`, in its order; temperature 0 is argmax."""

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None


def check(filters: Filters, vocabulary: int) -> None:
    """Raises InputError for what the kernel does not take, in its words."""
    logits = jax.ShapeDtypeStruct((1, vocabulary), "float32")
    try:
        jax.eval_shape(lambda x: draw(x, jax.random.key(0), filters), logits)
    except ValueError as error:
        raise InputError(str(error)) from None


def draw(logits_BxV: Array, rng: Array, filters: Filters) -> sampling.Draw:
    """A token a row; a row's draw depends on `rng` and its index, not on other rows."""
    return sampling.sample(logits_BxV, rng, **dataclasses.asdict(filters))


def distribution(logits_BxV: Float[Array, "B V"], filters: Filters) -> Float[Array, "B V"]:
    """The probabilities that `draw` draws from."""
    if filters.temperature == 0:
        return jax.nn.one_hot(jnp.argmax(logits_BxV, axis=1), logits_BxV.shape[1])
    logits_BxV = logits_BxV / filters.temperature
    if filters.top_k is not None:
        logits_BxV = top_k_filter(logits_BxV, filters.top_k)
    if filters.top_p is not None:
        logits_BxV = top_p_filter(logits_BxV, filters.top_p)
    if filters.min_p is not None:
        logits_BxV = min_p_filter(logits_BxV, filters.min_p)
    return jax.nn.softmax(logits_BxV, axis=1)


def draw_from(probs_BxV: Float[Array, "B V"], rng: Key[Array, ""]) -> Array:
    """A token a row from weights, int32 (B,); one of weight 0 is never drawn."""
    return sampling.categorical(jnp.log(probs_BxV), rng)
