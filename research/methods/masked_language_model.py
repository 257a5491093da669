"""BERT's masked language model: hidden tokens of a text, predicted from both sides (1810.04805)."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int

from research.data.examples import Dataset
from research.data.tokenizers import Tokenizer
from research.errors import InputError
from research.methods import text_likelihoods, writing
from research.networks.initial import initial
from research.training.method import Aux, Objective, TextWriter
from research.training.optimizers import averaged
from research.training.rng import named
from research.training.state import TrainState
from research.training.types import Batch, Metrics, Params, Rng, Scalar

MASK = "<mask>"  # in a prompt
HIDDEN, SWAPPED = 0.8, 0.1  # of the chosen tokens; the others stay as they are


class Masked(NamedTuple):
    """A text of which some tokens are to be told: their places, what they were, which count."""

    seen_BxT: Int[Array, "B T"]
    places_BxM: Int[Array, "B M"]
    targets_BxM: Int[Array, "B M"]
    weight_BxM: Float[Array, "B M"]


class MaskedLanguageModel(TextWriter):
    """ln p(token | the text with some of its tokens hidden), of those tokens.

    In each row `share` of the length T are, or all that it has.

    A batch is `tokens`, `positions` and `segments`, int32 (B, T + 1), of which the first T are
    read; segment 0 is padding. `network` is as `LanguageModel` has it, but sees both sides
    (`causal=False`; a causal one tells a token from what is before it and the mask, as the paper's
    left-to-right model does, section 5.1).
    """

    fields = ("tokens", "positions", "segments")

    def __init__(
        self,
        *,
        network: Any,
        optimizer: optax.GradientTransformation,
        tokenizer: Tokenizer,
        length: int,
        packed: bool = False,
        share: float = 0.15,
    ):
        if not 0 < share <= 1:
            raise InputError(f"method.share is {share}; it must be in (0, 1]")
        writing.check_one_text(network)
        self.network = network
        self.optimizer = optimizer
        self.tokenizer, self.mask = tokenizer, tokenizer.mask
        self.length, self.packed = length, packed
        self.chosen = chosen_of(length, share=share)
        self._surest = jax.jit(self.surest)

    def init_params(self, rng: Rng, batch: Batch) -> dict[str, Params]:
        return {"model": initial(self.network, rng, jnp.zeros((1, 1), jnp.int32))}

    def objectives(self) -> Sequence[Objective]:
        return [Objective("model", self.loss, self.optimizer)]

    def loss(self, params: Params, state: TrainState, batch: Batch, rng: Rng) -> tuple[Scalar, Aux]:
        """The mean of nats a hidden token; the share told right is logged."""
        nats, hits, weight = self.per_token(params, batch, rng, train=True)
        total = jnp.maximum(jnp.sum(weight), 1)
        return jnp.sum(nats) / total, Aux({"accuracy": jnp.sum(hits) / total})

    def evaluate(self, state: TrainState, batch: Batch, rng: Rng) -> Metrics:
        """`loss` in nats and `accuracy` of a hidden token, each (B,); `weight` is their number."""
        nats, hits, weight = self.per_token(averaged(state, "model"), batch, rng, train=False)
        count_B = jnp.sum(weight, axis=1)
        loss_B, accuracy_B = (jnp.sum(x, axis=1) / jnp.maximum(count_B, 1) for x in (nats, hits))
        return {"loss": loss_B, "accuracy": accuracy_B, "weight": count_B}

    def trivial(self, train: Dataset, test: Dataset) -> Mapping[str, Mapping[str, float]]:
        """What the training split's unigrams, and bigrams of the left side alone, get."""
        return {"loss": text_likelihoods.ngrams(train, test)["loss"]}

    def per_token(
        self, params: Params, batch: Batch, rng: Rng, *, train: bool
    ) -> tuple[Float[Array, "B M"], Float[Array, "B M"], Float[Array, "B M"]]:
        """Of each hidden token nats, 1 if it is told right, and 1 if it counts: else all are 0."""
        fields = {name: batch[name][:, : self.length] for name in self.fields}
        masked = masking(
            fields["tokens"],
            self.may_be_hidden(fields),
            named(rng, "masking"),
            count=self.chosen,
            mask=self.mask,
            vocabulary=self.tokenizer.size,
        )
        rngs = {"dropout": named(rng, "dropout")} if train else None
        seen = masked.seen_BxT, fields["positions"], fields["segments"]
        hidden_BxTxD = self.network.apply({"params": params}, *seen, train=train, rngs=rngs)
        hidden_BxMxD = jnp.take_along_axis(hidden_BxTxD, masked.places_BxM[..., None], axis=1)
        logits = self.network.apply({"params": params}, hidden_BxMxD, method="logits")
        nats = optax.softmax_cross_entropy_with_integer_labels(logits, masked.targets_BxM)
        hits = jnp.argmax(logits, axis=-1) == masked.targets_BxM
        weight = masked.weight_BxM
        return nats * weight, hits * weight, weight

    def sample(
        self,
        state: TrainState,
        rng: Rng,
        *,
        count: int,
        batch: Batch | None = None,
        prompt: str = "",
    ) -> dict[str, Any]:
        """`texts`: the prompt with a token for each `<mask>`, in brackets; or test texts.

        Of those a share is hidden as in training, and told again; `references` are what they were.
        The surest place is filled first, always by its likeliest token, and read by the next. What
        is told stays, where mask-predict (1904.09324) tells all and hides the least sure again.

        Raises:
          InputError: the prompt has no `<mask>`, or more tokens than the context.
        """
        if batch is None or prompt:
            tokens = self.framed(prompt)
            fields = text_likelihoods.framed([tokens.tolist()] * count, count, len(tokens))
            found = {}
        else:
            fields = {name: jnp.array(batch[name])[:count, : self.length] for name in self.fields}
            found = {"references": self.texts(fields, fields["tokens"])}
            fields["tokens"] = self.hidden(rng, fields["tokens"], self.may_be_hidden(fields))
        filled = self.filled(averaged(state, "model"), fields)
        return {"texts": self.texts(fields, filled)} | found

    def may_be_hidden(self, fields: Batch) -> Bool[Array, "B T"]:
        """All but padding and the end token before a packed document, which its place tells."""
        real_BxT = fields["segments"] > 0
        if not self.packed:
            return real_BxT
        return real_BxT & ~((fields["positions"] == 0) & (fields["tokens"] == self.tokenizer.end))

    def hidden(self, rng: Rng, tokens_BxT: Array, real_BxT: Array) -> Array:
        """Rows with a mask for as many of their real tokens as training chooses."""
        places_BxM, is_real_BxM = random_places(real_BxT, rng, self.chosen)
        rows_Bx1 = jnp.arange(len(tokens_BxT))[:, None]
        shown_BxM = jnp.where(is_real_BxM, self.mask, tokens_BxT[rows_Bx1, places_BxM])
        return tokens_BxT.at[rows_Bx1, places_BxM].set(shown_BxM)

    def filled(self, params: Params, fields: Batch) -> np.ndarray:
        """Rows of which every masked place is told, the surest first."""
        now, around = fields["tokens"], (fields["positions"], fields["segments"])
        for _ in range(int((now == self.mask).sum(axis=1).max())):
            now = self._surest(params, now, *around)
        return np.asarray(now)

    def surest(self, params: Params, rows_BxT: Array, *around: Array) -> Array:
        """Rows with the surest of their masked places told, among `positions` and `segments`."""
        hidden = self.network.apply({"params": params}, rows_BxT, *around)
        logits = self.network.apply({"params": params}, hidden, method="logits")
        probs = jax.nn.softmax(logits.at[..., self.mask].set(-jnp.inf))
        sure_BxT = jnp.where(rows_BxT == self.mask, jnp.max(probs, axis=-1), -1)
        place_B, row_B = jnp.argmax(sure_BxT, axis=1), jnp.arange(len(rows_BxT))
        told_B = jnp.argmax(probs[row_B, place_B], axis=-1)
        more_B = sure_BxT[row_B, place_B] > 0
        return rows_BxT.at[row_B, place_B].set(jnp.where(more_B, told_B, rows_BxT[row_B, place_B]))

    def framed(self, prompt: str) -> np.ndarray:
        """The prompt's tokens, a mask for each `<mask>`, after the end token as packed rows are."""
        parts = writing.around_gaps(self.tokenizer, prompt, MASK)
        mask = np.array([self.mask], np.int32)
        start = np.array([self.tokenizer.end] if self.packed else [], np.int32)
        rest = (x for part in parts[1:] for x in (mask, part))
        tokens = np.concatenate([start, parts[0], *rest])
        if len(parts) == 1:
            raise InputError(f"the prompt has no {MASK}, for which a token is to be told")
        if len(tokens) > self.length:
            raise InputError(
                f"the prompt has {len(tokens)} tokens, and the model's context is {self.length}"
            )
        return tokens.astype(np.int32)

    def texts(self, fields: Batch, told_BxT: Array | np.ndarray) -> np.ndarray:
        """Each row as `shown`, without what fills it up."""
        real_BxT = np.asarray(fields["segments"]) > 0
        rows = zip(np.asarray(fields["tokens"]), np.asarray(told_BxT), real_BxT, strict=True)
        texts = [self.shown(row[is_real], new[is_real]) for row, new, is_real in rows]
        return np.array(texts, object)

    def shown(self, before: np.ndarray, after: np.ndarray) -> str:
        """The text, with brackets around what was told."""
        told = before == self.mask
        cuts = [0, *(np.flatnonzero(np.diff(told)) + 1), len(told)]
        tokens, parts = after.tolist(), []
        for start, stop in itertools.pairwise(cuts):
            text = writing.added(self.tokenizer, tokens[:start], tokens[start:stop])
            parts.append(f"[{text}]" if told[start] else text)
        return "".join(parts)


def chosen_of(length: int, *, share: float) -> int:
    """How many tokens of a row of that length are chosen, one at least."""
    return max(1, round(share * length))


def masking(
    tokens_BxT: Int[Array, "B T"],
    real_BxT: Any,
    rng: Rng,
    *,
    count: int,
    mask: int,
    vocabulary: int,
) -> Masked:
    """`count` real tokens of each row: 80% are hidden, 10% another token's, 10% as they are.

    1810.04805, section 3.1 and appendix A.1. Of a row that has fewer all are chosen. The other
    token is any of the vocabulary.
    """
    places_BxM, is_real_BxM = random_places(real_BxT, named(rng, "places"), count)
    targets_BxM = jnp.take_along_axis(tokens_BxT, places_BxM, axis=1)
    fate_BxM = jax.random.uniform(named(rng, "fate"), places_BxM.shape)
    any_BxM = jax.random.randint(named(rng, "any"), places_BxM.shape, 0, vocabulary)
    swapped_BxM = jnp.where(fate_BxM < HIDDEN + SWAPPED, any_BxM, targets_BxM)
    shown_BxM = jnp.where(fate_BxM < HIDDEN, mask, swapped_BxM)
    shown_BxM = jnp.where(is_real_BxM, shown_BxM, targets_BxM)
    rows_Bx1 = jnp.arange(len(tokens_BxT))[:, None]
    seen_BxT = tokens_BxT.at[rows_Bx1, places_BxM].set(shown_BxM)
    return Masked(seen_BxT, places_BxM, targets_BxM, is_real_BxM.astype(jnp.float32))


def random_places(
    real_BxT: Any, rng: Rng, count: int
) -> tuple[Int[Array, "B M"], Bool[Array, "B M"]]:
    """`count` places of each row, real ones first, and which of them are real."""
    score_BxT = jnp.where(real_BxT, jax.random.uniform(rng, real_BxT.shape), -1)
    score_BxM, places_BxM = jax.lax.top_k(score_BxT, count)
    return places_BxM, score_BxM >= 0
