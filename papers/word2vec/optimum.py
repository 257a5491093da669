"""Skip-gram's optimum by its exact expected loss, on all pairs of a small vocabulary."""

import functools
from typing import Any, NamedTuple

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import optax
import scipy
from jaxtyping import Float

from research.data import datasets
from research.data.tokenizers import Tokenizer
from research.data.word_contexts import WordSet
from research.errors import InputError
from research.methods.word_embeddings import SkipGram, noise_nats, true_nats
from research.networks.word_vectors import WordVectors

DATA: dict[str, Any] = {"corpus": "shakespeare", "vocabulary_size": 64, "window": 5}


class Pairs(NamedTuple):
    """The shares of pairs (word, context), of words that have any, among so many `seen`."""

    share: Float[np.ndarray, "n n"]
    seen: int
    tokenizer: Tokenizer

    def method(self, *, negatives: int) -> SkipGram:
        """Whose noise are the contexts' own shares, and which has a dimension a word."""
        counts = np.rint(self.share.sum(axis=0) * self.seen).astype(np.int64)
        return SkipGram(
            network=WordVectors(vocabulary=len(counts), width=len(counts)),
            optimizer=optax.identity(),
            tokenizer=self.tokenizer,
            counts=counts,
            negatives=negatives,
            noise_power=1.0,
        )

    def information(self) -> Float[np.ndarray, "n n"]:
        """Pointwise mutual information in nats, -inf of pairs that are not seen."""
        independent = np.outer(self.share.sum(axis=1), self.share.sum(axis=0))
        with np.errstate(divide="ignore"):
            return np.log(self.share / independent)


@functools.cache
def pairs() -> Pairs:
    """Of Shakespeare's most frequent words and signs."""
    data = datasets.load("word_pairs", "train", **DATA)
    assert isinstance(data, WordSet)
    used = np.flatnonzero(data.counts)
    place = np.searchsorted(used, [data.arrays()[field] for field in ("word", "context")])
    table = np.zeros((len(used), len(used)))
    np.add.at(table, tuple(place), 1)
    return Pairs(table / table.sum(), len(data), data.tokenizer)


def optimum(made: Pairs, seed: int, *, negatives: int) -> Float[np.ndarray, "n n"]:
    """The scores w . c at the minimum of the expected loss, which L-BFGS finds in float64.

    The expectation is over pairs and noise of what `SkipGram.per_example` draws. Raises
    InputError where the minimum is not reached.
    """
    method = made.method(negatives=negatives)
    size = len(made.share)
    words = jnp.arange(size)
    contexts = jnp.tile(words, (size, 1))
    noise = negatives * np.outer(made.share.sum(axis=1), method.noise)
    start = method.init_params(jax.random.key(seed), {})["model"]
    # At 0 for all contexts no word has a gradient; any other start will do.
    start["contexts"] = jax.random.normal(jax.random.key(seed), (size, size)) / size
    flat, unflatten = jax.flatten_util.ravel_pytree(start)

    def scores(flat: jax.Array) -> jax.Array:
        return method.network.apply({"params": unflatten(flat)}, words, contexts)

    @jax.value_and_grad
    def loss(flat: jax.Array) -> jax.Array:
        found = scores(flat)
        return jnp.sum(made.share * true_nats(found) + noise * noise_nats(found))

    with jax.enable_x64(True):
        flat, unflatten = jax.flatten_util.ravel_pytree(
            jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), start)
        )
        step = jax.jit(loss)
        options = {"maxiter": 50_000, "maxfun": 60_000, "maxcor": 100, "ftol": 1e-15, "gtol": 1e-10}
        found = scipy.optimize.minimize(
            lambda x: [np.asarray(part, np.float64) for part in step(x)],
            np.asarray(flat),
            jac=True,
            method="L-BFGS-B",
            options=options,
        )
        if not found.success:
            raise InputError(f"the optimum was not reached: {found.message}")
        return np.asarray(scores(jnp.asarray(found.x)))


def error(
    scores: Float[np.ndarray, "n n"], expected: Float[np.ndarray, "n n"], made: Pairs
) -> float:
    """The root of the mean square in nats, over pairs as they are seen."""
    seen = made.share > 0
    return float(np.sqrt(np.sum(made.share[seen] * (scores - expected)[seen] ** 2)))
