"""Word embeddings: skip-gram with negative sampling, and GloVe."""

import abc
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
from research.evaluation.word_vectors import neighbours as nearest
from research.networks.word_vectors import WordVectors
from research.training.method import Aux, Method, Objective
from research.training.optimizers import averaged
from research.training.rng import named
from research.training.state import TrainState
from research.training.types import Batch, Metrics, Params, Rng, Scalar

FREQUENT = 1000  # the words of which some are shown, where none are asked for


class WordEmbeddings(Method):
    """Vectors by which a word scores its contexts.

    A batch is `word` and `context`, int32 (B,), and what else the leaf reads. `network` is
    `WordVectors`, with biases where the leaf is `biased`. `counts` are the words' in the training
    split. Raises InputError for another network.
    """

    fields: Sequence[str] = ("word", "context")
    biased = False

    def __init__(
        self,
        *,
        network: Any,
        optimizer: optax.GradientTransformation,
        tokenizer: Tokenizer,
        counts: Int[np.ndarray, "V"],
    ):
        if not isinstance(network, WordVectors) or network.bias != self.biased:
            raise InputError(
                f"{type(self).__name__} needs network.name='word_vectors' and "
                f"network.bias={self.biased}"
            )
        self.network: Any = network
        self.optimizer = optimizer
        self.tokenizer = tokenizer
        self.counts = counts

    @abc.abstractmethod
    def per_example(self, params: Params, batch: Batch, rng: Rng) -> Float[Array, " B"]:
        """The loss of each pair."""

    @abc.abstractmethod
    def vectors(self, params: Params) -> Float[np.ndarray, "V D"]:
        """What stands for each word once all is learned."""

    def init_params(self, rng: Rng, batch: Batch) -> dict[str, Params]:
        one = jnp.zeros(1, jnp.int32)
        return {"model": self.network.init(rng, one, one)["params"]}

    def objectives(self) -> Sequence[Objective]:
        return [Objective("model", self.loss, self.optimizer)]

    def loss(self, params: Params, state: TrainState, batch: Batch, rng: Rng) -> tuple[Scalar, Aux]:
        return jnp.mean(self.per_example(params, batch, rng)), Aux()

    def evaluate(self, state: TrainState, batch: Batch, rng: Rng) -> Metrics:
        """`loss` (B,) of each pair."""
        return {"loss": self.per_example(averaged(state, "model"), batch, rng)}

    def sample(
        self, state: TrainState, rng: Rng, *, count: int, words: str = "", neighbours: int = 8
    ) -> dict[str, Any]:
        """`texts`: words with their nearest ones and the cosines, a line each.

        `words` are asked for in one string, and begin again after the last; else they are drawn
        from the thousand most frequent. Raises InputError for a word that is not known.
        """
        if asked := words.split():
            chosen = np.resize([self.known(word) for word in asked], count)
        else:
            frequent = np.argsort(-self.counts)[: min(FREQUENT, np.count_nonzero(self.counts))]
            drawn = jax.random.choice(named(rng, "words"), len(frequent), (count,))
            chosen = frequent[np.asarray(drawn)]
        ids, cosines = nearest(self.vectors(averaged(state, "model")), chosen, neighbours)
        lines = [
            f"{self.spelt(word)}: "
            + ", ".join(f"{self.spelt(i)} {c:.2f}" for i, c in zip(*row, strict=True))
            for word, *row in zip(chosen, ids, cosines, strict=True)
        ]
        return {"texts": np.array(lines, object)}

    def known(self, word: str) -> int:
        """The id of a word. Raises InputError: it is none, or of several tokens."""
        ids = self.tokenizer.encode(word.lower())
        if len(ids) != 1:
            raise InputError(f"{word!r} is {len(ids)} tokens; a word of one is needed")
        return int(ids[0])

    def spelt(self, word: Any) -> str:
        return self.tokenizer.decode(np.array([word]))


class SkipGram(WordEmbeddings):
    """Tells a word's contexts from noise: -log s(w.c) - sum of k log s(-w.n) (1310.4546, eq. 4).

    The `negatives` n are drawn from the words' shares to the power `noise_power` (section 2.2). At
    the optimum w.c is log p(c | w) / (k q(c)), q the noise (Levy and Goldberg 2014).

    Raises:
      InputError: as `WordEmbeddings`, or an option is too small; from `init_params`, pairs have
        counts, where each is to come as often as in the text.
    """

    def __init__(
        self,
        *,
        network: Any,
        optimizer: optax.GradientTransformation,
        tokenizer: Tokenizer,
        counts: Int[np.ndarray, "V"],
        negatives: int = 5,
        noise_power: float = 0.75,
    ):
        super().__init__(network=network, optimizer=optimizer, tokenizer=tokenizer, counts=counts)
        check_least(1, negatives=negatives)
        check_least(0, noise_power=noise_power)
        self.negatives = negatives
        weight = self.counts.astype(np.float64) ** noise_power * (self.counts > 0)
        self.noise = weight / weight.sum()
        self._reached = jnp.asarray(np.cumsum(self.noise), jnp.float32)

    def init_params(self, rng: Rng, batch: Batch) -> dict[str, Params]:
        if "count" in batch:
            raise InputError(
                "skip-gram learns from pairs that come as often as in the text: "
                "data.name must be word_pairs"
            )
        return super().init_params(rng, batch)

    def per_example(self, params: Params, batch: Batch, rng: Rng) -> Float[Array, " B"]:
        noise_BxK = self.draw_noise(named(rng, "noise"), (len(batch["word"]), self.negatives))
        contexts_BxK = jnp.concatenate([batch["context"][:, None], noise_BxK], axis=1)
        scores_BxK = self.network.apply({"params": params}, batch["word"], contexts_BxK)
        return true_nats(scores_BxK[:, 0]) + jnp.sum(noise_nats(scores_BxK[:, 1:]), axis=1)

    def draw_noise(self, rng: Rng, shape: tuple[int, ...]) -> Int[Array, "*shape"]:
        """Words from `noise`, by its inverse distribution function."""
        reached = jax.random.uniform(rng, shape) * self._reached[-1]
        return jnp.searchsorted(self._reached, reached, side="right").astype(jnp.int32)

    def vectors(self, params: Params) -> Float[np.ndarray, "V D"]:
        return np.asarray(params["words"])

    def trivial(self, train: Dataset, test: Dataset) -> Mapping[str, Mapping[str, float]]:
        """Of the best score that knows only how frequent the context is: log p(c) / (k q(c))."""
        seen, met = (
            np.bincount(part.arrays()["context"], minlength=len(self.noise)) + 1e-9
            for part in (train, test)
        )
        noise = np.maximum(self.noise, 1e-12)
        scores = np.log(seen / seen.sum()) - np.log(self.negatives * noise)
        loss = np.average(true_nats(scores), weights=met)
        loss += self.negatives * np.sum(self.noise * noise_nats(scores))
        return {"loss": {"frequency": float(loss)}}


class GloVe(WordEmbeddings):
    """Least squares on log counts: f(X) (w.c + b + b' - log X)^2 (Pennington et al. 2014, eq. 8).

    A batch has `count` X, float32 (B,), too. f is (X / `cutoff`)^`power`, at most 1 (eq. 9).

    Raises:
      InputError: as `WordEmbeddings`, or an option is too small.
    """

    fields = ("word", "context", "count")
    biased = True

    def __init__(
        self,
        *,
        network: Any,
        optimizer: optax.GradientTransformation,
        tokenizer: Tokenizer,
        counts: Int[np.ndarray, "V"],
        cutoff: float = 100.0,
        power: float = 0.75,
    ):
        super().__init__(network=network, optimizer=optimizer, tokenizer=tokenizer, counts=counts)
        if not cutoff > 0:
            raise InputError(f"cutoff is {cutoff}; it must be above 0")
        check_least(0, power=power)
        self.cutoff = cutoff
        self.power = power

    def per_example(self, params: Params, batch: Batch, rng: Rng) -> Float[Array, " B"]:
        scores_B = self.network.apply({"params": params}, batch["word"], batch["context"])
        return self.weighted(scores_B - jnp.log(batch["count"]), batch["count"])

    def weighted(self, error: Any, count: Any) -> Any:
        return jnp.minimum(count / self.cutoff, 1) ** self.power * error**2

    def vectors(self, params: Params) -> Float[np.ndarray, "V D"]:
        """The sum of both tables (section 4.2)."""
        return np.asarray(params["words"] + params["contexts"])

    def trivial(self, train: Dataset, test: Dataset) -> Mapping[str, Mapping[str, float]]:
        """Of words that meet by chance: log X = log X_w X_c / sum of X."""
        seen, met = train.arrays(), test.arrays()
        totals = np.bincount(seen["word"], seen["count"], minlength=self.tokenizer.size) + 1e-9
        logs = np.log(totals)
        scores = logs[met["word"]] + logs[met["context"]] - np.log(totals.sum())
        loss = self.weighted(scores - np.log(met["count"]), met["count"]).mean()
        return {"loss": {"independent": float(loss)}}


def true_nats(score: Any) -> Any:
    """-log s(score): a pair from the text is taken for one."""
    return jax.nn.softplus(-score)


def noise_nats(score: Any) -> Any:
    """-log s(-score): a pair with noise is not taken for one."""
    return jax.nn.softplus(score)
