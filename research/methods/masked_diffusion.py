"""Masked discrete diffusion of text: tokens are hidden at random times, and told (2406.07524)."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from research.data.examples import Dataset
from research.data.tokenizers import Tokenizer
from research.errors import InputError, check_least
from research.methods import text_likelihoods, writing
from research.networks.initial import initial
from research.sampling.unmasking import unmasked
from research.training.method import Aux, Objective, TextWriter
from research.training.optimizers import averaged
from research.training.rng import named
from research.training.state import TrainState
from research.training.types import Batch, Metrics, Params, Rng, Scalar

FIRST = 1e-3  # the least time: a weight is at most 1000


class MaskedDiffusion(TextWriter):
    """A bound on -ln p(text) by a model of hidden tokens given those that are seen.

    A token is hidden at time t with probability t (alpha_t = 1 - t). The bound is the mean over t
    of 1 / t times the nats of the hidden tokens (equation 10): no time is told to the network, and
    what is seen is carried over (section 3.2.3). A batch is `tokens`, int32 (B, T + 1), of which
    the first T are read. `network` is as `LanguageModel` has it, but sees both sides.
    """

    def __init__(
        self,
        *,
        network: Any,
        optimizer: optax.GradientTransformation,
        tokenizer: Tokenizer,
        length: int,
        bytes_per_token: float | None,
        packed: bool = False,
        evaluation_times: int = 8,
    ):
        if packed:
            raise InputError("masked diffusion reads whole rows: data.packing must be 'windows'")
        check_least(1, evaluation_times=evaluation_times)
        writing.check_one_text(network)
        if getattr(network, "causal", True):
            raise InputError("network.causal must be False: tokens are told from both sides")
        self.network = network
        self.optimizer = optimizer
        self.tokenizer, self.mask = tokenizer, tokenizer.mask
        self.length = length
        self.bytes_per_token = bytes_per_token
        self.evaluation_times = evaluation_times
        self._draw = jax.jit(self.draw, static_argnames="steps")

    def init_params(self, rng: Rng, batch: Batch) -> dict[str, Params]:
        return {"model": initial(self.network, rng, jnp.zeros((1, 1), jnp.int32))}

    def objectives(self) -> Sequence[Objective]:
        return [Objective("model", self.loss, self.optimizer)]

    def loss(self, params: Params, state: TrainState, batch: Batch, rng: Rng) -> tuple[Scalar, Aux]:
        """The mean of the bound, nats a token; the share of hidden tokens told right is logged."""
        tokens_BxT = batch["tokens"][:, : self.length]
        dropout = named(rng, "dropout")
        bound_B, right, hidden = self.bound(params, tokens_BxT, named(rng, "bound"), dropout)
        return jnp.mean(bound_B), Aux({"accuracy": right / jnp.maximum(hidden, 1)})

    def evaluate(self, state: TrainState, batch: Batch, rng: Rng) -> Metrics:
        """The bound a token, `loss` in nats and `bits_per_byte` (`by_unit`), each (B,)."""
        tokens_BxT, params = batch["tokens"][:, : self.length], averaged(state, "model")

        def once(rng: Rng) -> Array:
            return self.bound(params, tokens_BxT, rng)[0]

        rngs = jax.random.split(named(rng, "bound"), self.evaluation_times)
        loss_B = jnp.mean(jax.lax.map(once, rngs), axis=0)
        return text_likelihoods.by_unit(loss_B, self.bytes_per_token)

    def trivial(self, train: Dataset, test: Dataset) -> Mapping[str, Mapping[str, float]]:
        """What the training split's unigrams and bigrams get."""
        return text_likelihoods.ngrams(train, test)

    def bound(
        self, params: Params, tokens_BxT: Int[Array, "B T"], rng: Rng, dropout: Rng | None = None
    ) -> tuple[Float[Array, " B"], Scalar, Scalar]:
        """Nats a token at one time a row, and how many hidden tokens are told right, of how many.

        The rows' times are spread evenly, from one random start (as those of 2107.00630).
        """
        batch, count = tokens_BxT.shape
        start = jax.random.uniform(named(rng, "time"))
        time_Bx1 = FIRST + (1 - FIRST) * ((start + jnp.arange(batch) / batch) % 1)[:, None]
        hidden_BxT = jax.random.uniform(named(rng, "hidden"), tokens_BxT.shape) < time_Bx1
        seen_BxT = jnp.where(hidden_BxT, self.mask, tokens_BxT)
        log_probs_BxTxV = self.log_probs(params, seen_BxT, dropout)
        picked = jnp.take_along_axis(log_probs_BxTxV, tokens_BxT[..., None], axis=-1)[..., 0]
        nats_BxT = jnp.where(hidden_BxT, -picked / time_Bx1, 0)
        right_BxT = hidden_BxT & (jnp.argmax(log_probs_BxTxV, axis=-1) == tokens_BxT)
        right, hidden = (jnp.sum(x, dtype=jnp.float32) for x in (right_BxT, hidden_BxT))
        return jnp.sum(nats_BxT, axis=1) / count, right, hidden

    def log_probs(
        self, params: Params, tokens_BxT: Int[Array, "B T"], dropout: Rng | None = None
    ) -> Float[Array, "B T V"]:
        """Of each place's token given what is seen; never of the mask (section 3.2.3)."""
        rngs = None if dropout is None else {"dropout": dropout}
        given = {"params": params}
        hidden = self.network.apply(given, tokens_BxT, train=dropout is not None, rngs=rngs)
        logits = self.network.apply(given, hidden, method="logits")
        return jax.nn.log_softmax(logits.at[..., self.mask].set(-jnp.inf))

    def sample(
        self,
        state: TrainState,
        rng: Rng,
        *,
        count: int,
        prompt: str = "",
        steps: int = 128,
    ) -> dict[str, Any]:
        """`texts` of the whole context that start with the prompt, told in `steps` steps.

        Raises:
          InputError: the prompt fills the context, or there are no steps.
        """
        given = self.tokenizer.encode(prompt)
        if len(given) >= self.length:
            raise InputError(
                f"the prompt has {len(given)} tokens, and the model's context is {self.length}: "
                "it must be shorter"
            )
        check_least(1, steps=steps)
        tokens = np.full((count, self.length), self.mask, np.int32)
        tokens[:, : len(given)] = given
        told = self._draw(averaged(state, "model"), jnp.asarray(tokens), rng, steps=steps)
        texts = [self.tokenizer.decode(row) for row in np.asarray(told)]
        return {"texts": np.array(texts, object)}

    def draw(
        self, params: Params, tokens_BxT: Int[Array, "B T"], rng: Rng, *, steps: int
    ) -> Int[Array, "B T"]:
        """The tokens with every mask told."""

        def log_probs(seen: Array) -> Array:
            return self.log_probs(params, seen)

        return unmasked(log_probs, tokens_BxT, rng, mask=self.mask, steps=steps)
