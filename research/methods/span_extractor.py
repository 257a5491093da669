"""The words of a text that answer another: BERT's extractive head on an encoder's hidden states."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int

from kernels.linear import linear
from research.data.examples import Dataset
from research.data.tokenizers import Tokenizer
from research.errors import InputError
from research.methods.fine_tuning import FineTunedEncoder
from research.training.optimizers import averaged
from research.training.state import TrainState
from research.training.types import Batch, Params, Rng


class SpanExtractor(FineTunedEncoder):
    """p(first) p(last) of an answer's places in a text, given a question (1810.04805, 4.2).

    Two vectors score every token of the text as the answer's first and as its last; none of the
    question's, no `end` and nothing that fills up has a chance. A batch is as `SpanSet` has it;
    the arguments are `FineTunedEncoder`'s, and `longest`, how many tokens an answer has at most.

    Raises:
      InputError: as `FineTunedEncoder`, or `longest` is none.
    """

    fields = ("tokens", "segments", "types", "first", "last")

    def __init__(
        self,
        *,
        network: Any,
        optimizer: optax.GradientTransformation,
        tokenizer: Tokenizer,
        pretrained: str | None = None,
        longest: int = 8,
    ):
        super().__init__(
            network=network, optimizer=optimizer, tokenizer=tokenizer, pretrained=pretrained
        )
        if longest < 1:
            raise InputError(f"method.longest={longest} is too small: it is 1 or more")
        self.longest = longest
        self._spans = jax.jit(self.spans)

    def init_head(self, rng: Rng) -> Params:
        return {"kernel": 0.02 * jax.random.normal(rng, (self.network.width, 2))}

    def trivial(self, train: Dataset, test: Dataset) -> Mapping[str, Mapping[str, float]]:
        """What is got without the question: any token by chance, and the text's rarest.

        Rarest is what the training's texts have least of; of two the first.
        """
        seen, met = train.arrays(), test.arrays()
        counts = np.bincount(seen["tokens"][self.answerable(seen)], minlength=self.tokenizer.size)
        own_NxT = self.answerable(met)
        rarest_N = np.where(own_NxT, counts[met["tokens"]], np.inf).argmin(axis=1)
        places_T = np.arange(own_NxT.shape[1])
        # What is no token of the text is in no answer, and adds nothing to a sum.
        each_NxT = agreement(places_T, places_T, met["first"][:, None], met["last"][:, None])
        sizes_N = own_NxT.sum(axis=1)
        answers = {
            metric: {
                "random_token": float(np.mean(values.sum(axis=1) / sizes_N)),
                "rarest_token": float(np.mean(values[np.arange(len(values)), rarest_N])),
            }
            for metric, values in jax.tree.map(np.asarray, each_NxT).items()
        }
        return {"loss": {"uniform": float(np.mean(np.log(sizes_N)))}, **answers}

    def sample(  # type: ignore[override]  # only after examples
        self, state: TrainState, rng: Rng, *, count: int, batch: Batch
    ) -> dict[str, Any]:
        """Of `count` unseen examples `texts`: question, text, what was extracted, what is right."""
        found_Bx2 = np.stack(self._spans(averaged(state, "model"), batch), axis=1)
        right_Bx2 = np.stack([batch["first"], batch["last"]], axis=1)
        tokens_BxT, own_BxT = np.asarray(batch["tokens"]), np.asarray(self.answerable(batch))
        rows = zip(tokens_BxT, own_BxT, found_Bx2, right_Bx2, strict=True)
        return {"texts": np.array([self.shown(*row) for row in rows], object)}

    def shown(
        self, tokens: np.ndarray, own: np.ndarray, found: np.ndarray, right: np.ndarray
    ) -> str:
        """An example in three lines; `found` and `right` are first and last places."""
        decode = self.tokenizer.decode
        begin = int(own.argmax())
        answer, expected = (decode(tokens[first : last + 1]) for first, last in (found, right))
        judged = ", right" if (found == right).all() else f", but it is {expected}"
        return f"{decode(tokens[:begin])}\n{decode(tokens[begin:])}\n{answer}{judged}"

    def per_example(
        self, params: Params, batch: Batch, dropout: Rng | None = None
    ) -> dict[str, Float[Array, " B"]]:
        """`loss` (B,), nats of the first place and the last by halves, and `agreement`'s."""
        start_BxT, end_BxT = self.logits(params, batch, dropout)
        nats = optax.softmax_cross_entropy_with_integer_labels
        loss = (nats(start_BxT, batch["first"]) + nats(end_BxT, batch["last"])) / 2
        found = best_spans(start_BxT, end_BxT, longest=self.longest)
        return {"loss": loss, **agreement(*found, batch["first"], batch["last"])}

    def spans(self, params: Params, batch: Batch) -> tuple[Int[Array, " B"], Int[Array, " B"]]:
        """The first and the last place of each answer."""
        return best_spans(*self.logits(params, batch), longest=self.longest)

    def logits(
        self, params: Params, batch: Batch, dropout: Rng | None = None
    ) -> tuple[Float[Array, "B T"], Float[Array, "B T"]]:
        """Of the answer's first place and of its last, -inf where it cannot be."""
        hidden_BxTxD = self.hidden(params, batch, dropout).astype(jnp.float32)
        logits_BxTx2 = linear(hidden_BxTxD, params["head"]["kernel"])
        masked_BxTx2 = jnp.where(self.answerable(batch)[..., None], logits_BxTx2, -jnp.inf)
        return masked_BxTx2[..., 0], masked_BxTx2[..., 1]

    def answerable(self, batch: Mapping[str, Any]) -> Any:
        """(B, T), where the text's own tokens are; what fills up is of the question's type."""
        return (batch["types"] > 0) & (batch["tokens"] != self.tokenizer.end)


def best_spans(
    start_BxT: Float[Array, "B T"], end_BxT: Float[Array, "B T"], *, longest: int
) -> tuple[Int[Array, " B"], Int[Array, " B"]]:
    """First and last place of the largest start + end, of at most `longest` tokens."""
    places = jnp.arange(start_BxT.shape[1])
    size_TxT = places[None] - places[:, None] + 1
    allowed_TxT: Bool[Array, "T T"] = (size_TxT >= 1) & (size_TxT <= longest)
    scores_BxTxT = jnp.where(allowed_TxT, start_BxT[:, :, None] + end_BxT[:, None], -jnp.inf)
    best_B = scores_BxTxT.reshape(len(scores_BxTxT), -1).argmax(axis=1)
    return jnp.divmod(best_B, len(places))


def agreement(first: Any, last: Any, right_first: Any, right_last: Any) -> dict[str, Any]:
    """`exact_match`, 0 or 1, and `f1` of the tokens' places, of spans given by first and last.

    SQuAD's measures (1606.05250, section 6.1), of places in place of words.
    """
    exact = (first == right_first) & (last == right_last)
    shared = jnp.minimum(last, right_last) - jnp.maximum(first, right_first) + 1
    sizes = (last - first + 1) + (right_last - right_first + 1)
    return {
        "exact_match": exact.astype(jnp.float32),
        "f1": 2 * jnp.maximum(shared, 0) / sizes,
    }
