"""The losses of two players as functions of logits, their regularizers, and packing."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from research.errors import InputError
from research.training.types import Rng, Scalar

Logits = Float[Array, "*B"]
Score = Callable[[Any], Logits]  # examples (B, ...) -> one logit each


class AdversarialLoss(NamedTuple):
    """What each logit costs: the discriminator on `real` and on `fake`, the `generator` on a fake.

    All are minimised; a high logit says real.
    """

    real: Callable[[Logits], Logits]
    fake: Callable[[Logits], Logits]
    generator: Callable[[Logits], Logits]


def saturating() -> AdversarialLoss:
    """1406.2661, eq. 1: the generator minimises log(1 - D), which is flat where D is sure."""
    return AdversarialLoss(
        real=lambda logits: jax.nn.softplus(-logits),
        fake=jax.nn.softplus,
        generator=lambda logits: -jax.nn.softplus(logits),
    )


def non_saturating() -> AdversarialLoss:
    """1406.2661, section 3: the generator minimises -log D, with the same fixed point."""
    return saturating()._replace(generator=lambda logits: jax.nn.softplus(-logits))


def wasserstein() -> AdversarialLoss:
    """1701.07875, eq. 2: with a 1-Lipschitz critic its loss is minus the distance W1."""
    return AdversarialLoss(
        real=lambda logits: -logits, fake=lambda logits: logits, generator=lambda logits: -logits
    )


def hinge() -> AdversarialLoss:
    """1705.02894 and 1802.05957, eq. 16-17: logits beyond the margin of 1 cost nothing."""
    return wasserstein()._replace(
        real=lambda logits: jax.nn.relu(1 - logits), fake=lambda logits: jax.nn.relu(1 + logits)
    )


LOSSES: dict[str, Callable[[], AdversarialLoss]] = {
    "saturating": saturating,
    "non_saturating": non_saturating,
    "wasserstein": wasserstein,
    "hinge": hinge,
}


def r1(score: Score, real: Float[Array, "B *X"]) -> Scalar:
    """1/2 E |grad D(x)|^2 on real examples (1801.04406, eq. 9)."""
    return 0.5 * jnp.mean(squared_norms(gradients(score, real)))


def gradient_penalty(
    score: Score, real: Float[Array, "B *X"], fake: Float[Array, "B *X"], rng: Rng
) -> Scalar:
    """E (|grad D(x)| - 1)^2 at uniform points between pairs of a real and a fake (1704.00028)."""
    share = jax.random.uniform(rng, (len(real),) + (1,) * (real.ndim - 1))
    between = share * real + (1 - share) * fake
    squared = squared_norms(gradients(score, between))
    # The norm has no gradient where it is 0, as a critic of ReLUs may be.
    norms = jnp.sqrt(jnp.where(squared > 0, squared, 1.0)) * (squared > 0)
    return jnp.mean((norms - 1) ** 2)


def gradients(score: Score, examples: Float[Array, "B *X"]) -> Float[Array, "B *X"]:
    """Each logit's gradient by its own example; the logits depend on no other."""
    return jax.grad(lambda examples: jnp.sum(score(examples)))(examples)


def squared_norms(examples: Float[Array, "B *X"]) -> Float[Array, " B"]:
    return jnp.sum(examples.reshape(len(examples), -1) ** 2, axis=1)


def packed(examples: Float[Array, "B *X C"], packing: int) -> Float[Array, "P *X D"]:
    """Neighbours in one pack, along the last axis: (B, ..., C) -> (B/m, ..., m C) (1712.04086).

    Raises InputError unless the batch makes whole packs.
    """
    count = len(examples)
    if count < packing or count % packing:
        raise InputError(
            f"a batch of {count} doesn't make packs of {packing}: batch sizes are its multiples"
        )
    packs = examples.reshape(count // packing, packing, *examples.shape[1:])
    packs = jnp.moveaxis(packs, 1, -2)
    return packs.reshape(*packs.shape[:-2], -1)
