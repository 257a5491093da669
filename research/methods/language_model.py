"""Language models: the next token by maximum likelihood, and text written on from a prompt."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from research.data.examples import Dataset
from research.data.tokenizers import Tokenizer
from research.errors import InputError, check_least
from research.methods import text_likelihoods, writing
from research.methods.decoders import decoder
from research.methods.writing import BLOCK, SETTINGS
from research.networks.initial import initial
from research.networks.transformer import unrolled
from research.training.method import Aux, Objective, TextRanker, TextWriter
from research.training.optimizers import averaged
from research.training.rng import named
from research.training.state import TrainState
from research.training.types import Batch, Metrics, Params, Rng, Scalar


class LanguageModel(TextWriter, TextRanker):
    """p(text) = prod p(token | tokens before), of a document or, in windows, of a stream of them.

    A batch is `tokens`, `positions` and `segments`, int32 (B, T + 1): each of T tokens is predicted
    from those before it in its segment; segment 0 is padding. `network.apply({'params': p}, tokens,
    positions, segments, train=...)` gives hidden states, its method `logits` theirs, and `decode`
    and `empty_cache` are the same with a cache.
    """

    def __init__(
        self,
        *,
        network: Any,
        optimizer: optax.GradientTransformation,
        tokenizer: Tokenizer,
        length: int,
        packed: bool,
        bytes_per_token: float | None,
    ):
        writing.check_one_text(network)
        if not getattr(network, "causal", True):
            raise InputError("network.causal must be True: a token is told from those before it")
        self.network = network
        self.optimizer = optimizer
        self.tokenizer = tokenizer
        self.length = length
        self.packed = packed
        self.bytes_per_token = bytes_per_token
        self._nats = jax.jit(lambda params, batch: self.per_token(params, batch)[0])

    def init_params(self, rng: Rng, batch: Batch) -> dict[str, Params]:
        return {"model": initial(self.network, rng, jnp.zeros((1, 1), jnp.int32))}

    def objectives(self) -> Sequence[Objective]:
        return [Objective("model", self.loss, self.optimizer)]

    def loss(self, params: Params, state: TrainState, batch: Batch, rng: Rng) -> tuple[Scalar, Aux]:
        """The mean of nats a token; the share of tokens that were the likeliest is logged."""
        nats, hits, weight = self.per_token(params, batch, dropout=named(rng, "dropout"))
        total = jnp.maximum(jnp.sum(weight), 1)
        return jnp.sum(nats) / total, Aux({"accuracy": jnp.sum(hits) / total})

    def evaluate(self, state: TrainState, batch: Batch, rng: Rng) -> Metrics:
        """`loss` in nats and `accuracy` a token, and `bits_per_byte` (`by_unit`), each (B,).

        `weight` is an example's number of tokens.
        """
        nats, hits, weight = self.per_token(averaged(state, "model"), batch)
        count_B = jnp.sum(weight, axis=1)
        loss_B, accuracy_B = (jnp.sum(x, axis=1) / jnp.maximum(count_B, 1) for x in (nats, hits))
        found = text_likelihoods.by_unit(loss_B, self.bytes_per_token)
        return found | {"accuracy": accuracy_B, "weight": count_B}

    def trivial(self, train: Dataset, test: Dataset) -> Mapping[str, Mapping[str, float]]:
        """What the training split's unigrams and bigrams get."""
        return text_likelihoods.ngrams(train, test)

    def per_token(
        self, params: Params, batch: Batch, dropout: Rng | None = None
    ) -> tuple[Float[Array, "B T"], Float[Array, "B T"], Float[Array, "B T"]]:
        """Nats, 1 where the token was the likeliest, and 1 where it counts: else all are 0."""
        logits_BxTxV = self.logits(params, batch, dropout)
        targets_BxT = batch["tokens"][:, 1:]
        weight_BxT = jnp.ones(targets_BxT.shape)
        if self.packed:
            before, after = batch["segments"][:, :-1], batch["segments"][:, 1:]
            weight_BxT = ((before == after) & (after > 0)).astype(jnp.float32)
        nats = optax.softmax_cross_entropy_with_integer_labels(logits_BxTxV, targets_BxT)
        hits = jnp.argmax(logits_BxTxV, axis=-1) == targets_BxT
        return nats * weight_BxT, hits * weight_BxT, weight_BxT

    def logits(
        self, params: Params, batch: Batch, dropout: Rng | None = None
    ) -> Float[Array, "B T V"]:
        """Of the token after each but the last; with `dropout` as in training."""
        fields = ("tokens", "positions", "segments") if self.packed else ("tokens",)
        rngs = None if dropout is None else {"dropout": dropout}
        apply = functools.partial(self.network.apply, {"params": params})
        seen = (batch[field][:, :-1] for field in fields)
        return apply(apply(*seen, train=dropout is not None, rngs=rngs), method="logits")

    def log_likelihoods(
        self, state: TrainState, pairs: Sequence[tuple[str, str]]
    ) -> Float[np.ndarray, " N"]:
        """ln p(text | prompt) of each pair; of a long prompt as much as the context holds.

        A text of more than that is read in stretches (`text_likelihoods.log_likelihoods`).
        """
        tokens = [(self.ids(prompt), self.tokenizer.encode(x).tolist()) for prompt, x in pairs]
        per_token = functools.partial(self._nats, averaged(state, "model"))
        return text_likelihoods.log_likelihoods(per_token, tokens, length=self.length)

    def sees_all(self, prompt: str, text: str) -> bool:
        return len(self.ids(prompt)) + len(self.tokenizer.encode(text)) <= self.length + 1

    def sample(
        self,
        state: TrainState,
        rng: Rng,
        *,
        count: int,
        prompt: str = "",
        new_tokens: int = 256,
        strategy: str = "nucleus",
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        repetition_penalty: float | None = None,
        beams: int | None = None,
        length_penalty: float | None = None,
        alpha: float | None = None,
        regex: str | None = None,
        negative_prompt: str | None = None,
        guidance: float | None = None,
    ) -> dict[str, Any]:
        """`texts`: the prompt (else the start of a document) written on, each to its end.

        Where rows are packed documents the prompt begins one, as they do. At most `new_tokens` are
        written. `strategy` is one of `decoding.STRATEGIES`, which says what settings it takes and
        their defaults. `regex` must match, whole, what is added to the prompt, a blank before it
        too; it ends with the context. Another text that fills the context goes on from its second
        half, and what of `prompt` and `negative_prompt` is not in that counts no more.
        """
        options = {k: v for k, v in locals().items() if k in SETTINGS and v is not None}
        given: dict[str, Any] = dict(new_tokens=new_tokens, block=new_tokens, strategy=strategy)
        parts = self.written(state, rng, [prompt] * count, **given, **options)
        before = writing.context(self.tokenizer, prompt)
        rows = writing.gathered(parts, count)
        texts = [prompt + writing.added(self.tokenizer, before, row) for row in rows]
        return {"texts": np.array(texts, object)}

    def stream(
        self,
        state: TrainState,
        rng: Rng,
        *,
        prompt: str = "",
        new_tokens: int = 256,
        strategy: str = "nucleus",
        **settings: Any,
    ) -> Iterator[str]:
        """The first text of `sample`, in pieces as it comes, the prompt first."""
        before = writing.context(self.tokenizer, prompt)
        options = {name: value for name, value in settings.items() if value is not None}
        given: dict[str, Any] = dict(new_tokens=new_tokens, block=BLOCK, strategy=strategy)
        parts = self.written(state, rng, [prompt], **given, **options)
        added = functools.partial(writing.added, self.tokenizer, before)
        yield from writing.headed(prompt, writing.shown(parts, added))

    def written(
        self,
        state: TrainState,
        rng: Rng,
        prompts: Sequence[str],
        *,
        new_tokens: int,
        block: int,
        strategy: str,
        regex: str | None = None,
        negative_prompt: str | None = None,
        **settings: Any,
    ) -> Iterator[list[list[int]]]:
        """What each text has more, `block` tokens at a time, up to and without its end token.

        A `regex` is of what is added to the first prompt.
        """
        check_least(1, new_tokens=new_tokens)
        end = self.tokenizer.end
        if regex is not None:
            before = writing.context(self.tokenizer, prompts[0])
            settings["constraint"] = writing.pattern(regex, self.tokenizer, before)
        texts = [self.ids(prompt) for prompt in prompts]
        against = [] if negative_prompt is None else [self.ids(negative_prompt)] * len(prompts)
        params = unrolled(averaged(state, "model"))
        for kind, prefixes in {"prompt": texts, "negative prompt": against}.items():
            if (longest := max(map(len, prefixes), default=0)) >= self.length:
                raise InputError(
                    f"the {kind} has {longest} tokens, and the model's context is {self.length}: "
                    "it must be shorter"
                )
        room = self.length - max(map(len, [*texts, *against]))
        if regex is not None:  # a pattern is matched once, whole, within the context
            new_tokens = min(new_tokens, room)
        ended = np.zeros(len(texts), bool)
        while new_tokens > 0 and not ended.all():
            now = min(new_tokens, room)
            given = dict(new_tokens=now, strategy=strategy, end=end, **settings)
            if against:
                given["negative_prompts"] = against
            stretch = writing.continued(
                decoder(self.network), params, texts, rng, block=min(block, now), **given
            )
            for rows in stretch:
                new = [row[:0] if done else row for row, done in zip(rows, ended, strict=True)]
                ended |= [end in row for row in new]
                more = [row.tolist() for row in new]
                texts = [[*text, *row] for text, row in zip(texts, more, strict=True)]
                against = [[*text, *row] for text, row in zip(against, more, strict=False)]
                yield [row[row != end].tolist() for row in new]
            new_tokens -= now
            kept = self.length // 2
            texts, against = ([row[-kept:] for row in rows] for rows in (texts, against))
            room, rng = self.length - kept, named(rng, "on")

    def ids(self, prompt: str) -> list[int]:
        """The prompt's tokens, after the end token where a document starts.

        So an empty one does, and each of a model of packed documents, whose rows begin so.
        """
        ids = self.tokenizer.encode(prompt).tolist()
        return [self.tokenizer.end, *ids] if self.packed or not ids else ids
