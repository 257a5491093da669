"""Word vectors: a table of words and one of contexts, which score each other by products."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from research.errors import check_least


class WordVectors(nn.Module):
    """`words` and `contexts`, (V, D) each, and with `bias` a number of each of both.

    As in word2vec's code, words start uniform in ±1/(2 D) and contexts at 0.
    """

    vocabulary: int
    width: int = 100
    bias: bool = False

    @nn.compact
    def __call__(
        self, words: Int[Array, " B"], contexts: Int[Array, "B *K"]
    ) -> Float[Array, "B *K"]:
        """The scores w . c, or w . c + b_w + b_c, of each word's contexts.

        Raises InputError: the width is less than 1.
        """
        check_least(1, width=self.width)
        shape = (self.vocabulary, self.width)
        word_table = self.param("words", uniform, shape)
        context_table = self.param("contexts", nn.initializers.zeros, shape)
        scores = jnp.einsum("bd,b...d->b...", word_table[words], context_table[contexts])
        if self.bias:
            zeros = nn.initializers.zeros
            word_bias = self.param("word_bias", zeros, (self.vocabulary,))
            context_bias = self.param("context_bias", zeros, (self.vocabulary,))
            own = word_bias[words].reshape(-1, *[1] * (contexts.ndim - 1))
            scores = scores + own + context_bias[contexts]
        return scores


def uniform(rng: jax.Array, shape: tuple[int, ...]) -> Any:
    bound = 0.5 / shape[-1]
    return jax.random.uniform(rng, shape, minval=-bound, maxval=bound)
