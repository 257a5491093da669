"""Language models: the next token by maximum likelihood, and text written on from a prompt."""

import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from research.data.examples import Dataset
from research.data.text_sets import TextSet
from research.data.tokenizers import Tokenizer
from research.errors import InputError
from research.evaluation.ngrams import ngram_nats
from research.methods import text_likelihoods
from research.networks.transformer import unrolled
from research.sampling import decoding
from research.sampling.decoding import Decoder
from research.training.method import Aux, Objective, TextRanker, TextWriter
from research.training.optimizers import averaged
from research.training.rng import named
from research.training.state import TrainState
from research.training.types import Batch, Metrics, Params, Rng, Scalar

BLOCK = 8  # tokens that a stream shows at once


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
        bytes_per_token: float,
    ):
        self.network = network
        self.optimizer = optimizer
        self.tokenizer = tokenizer
        self.length = length
        self.packed = packed
        self.bytes_per_token = bytes_per_token

    def init_params(self, rng: Rng, batch: Batch) -> dict[str, Params]:
        tokens = jnp.zeros((1, 1), jnp.int32)

        def through(network: Any, tokens: Array) -> Array:
            return network.logits(network(tokens))

        return {"model": self.network.init(rng, tokens, method=through)["params"]}

    def objectives(self) -> Sequence[Objective]:
        return [Objective("model", self.loss, self.optimizer)]

    def loss(self, params: Params, state: TrainState, batch: Batch, rng: Rng) -> tuple[Scalar, Aux]:
        """The mean of nats a token; the share of tokens that were the likeliest is logged."""
        nats, hits, weight = self.per_token(params, batch, dropout=named(rng, "dropout"))
        total = jnp.maximum(jnp.sum(weight), 1)
        return jnp.sum(nats) / total, Aux({"accuracy": jnp.sum(hits) / total})

    def evaluate(self, state: TrainState, batch: Batch, rng: Rng) -> Metrics:
        """`loss` in nats and `accuracy` a token, and bits a byte of text, each (B,).

        `weight` is an example's number of tokens.
        """
        nats, hits, weight = self.per_token(averaged(state, "model"), batch)
        count_B = jnp.sum(weight, axis=1)
        loss_B, accuracy_B = (jnp.sum(x, axis=1) / jnp.maximum(count_B, 1) for x in (nats, hits))
        bits_B = loss_B / math.log(2) / self.bytes_per_token
        return dict(loss=loss_B, accuracy=accuracy_B, bits_per_byte=bits_B, weight=count_B)

    def trivial(self, train: Dataset, test: Dataset) -> Mapping[str, Mapping[str, float]]:
        """What the training split's unigrams and bigrams get (`ngrams.ngram_nats`)."""
        assert isinstance(train, TextSet) and isinstance(test, TextSet)
        vocabulary = self.tokenizer.size
        nats = ngram_nats(train.transitions(), test.transitions(), vocabulary=vocabulary)
        bits = {name: loss / math.log(2) / test.bytes_per_token for name, loss in nats.items()}
        return {"loss": nats, "bits_per_byte": bits}

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

        Raises InputError for a text that alone exceeds the context.
        """
        tokens = [(self.ids(prompt), self.tokenizer.encode(x).tolist()) for prompt, x in pairs]
        params = averaged(state, "model")
        per_token = jax.jit(lambda batch: self.per_token(params, batch)[0])
        return text_likelihoods.log_likelihoods(per_token, tokens, length=self.length)

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

        At most `new_tokens` are written. `strategy` is one of `decoding.STRATEGIES`, which says
        what settings it takes and their defaults. `regex` is what the continuation must match,
        whole. A text that fills the context goes on from its second half.
        """
        options = {k: v for k, v in locals().items() if k in SETTINGS and v is not None}
        rows: list[list[int]] = [[] for _ in range(count)]
        given: dict[str, Any] = dict(new_tokens=new_tokens, block=new_tokens, strategy=strategy)
        for more in self.written(state, rng, [prompt] * count, **given, **options):
            for row, tokens in zip(rows, more, strict=True):
                row.extend(tokens)
        return {"texts": np.array([prompt + self.tokenizer.decode(row) for row in rows], object)}

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
        yield prompt
        tokens: list[int] = []
        shown = ""
        options = {name: value for name, value in settings.items() if value is not None}
        given: dict[str, Any] = dict(new_tokens=new_tokens, block=BLOCK, strategy=strategy)
        for (more,) in self.written(state, rng, [prompt], **given, **options):
            tokens.extend(more)
            # Half a character is shown when its other bytes have come.
            text = self.tokenizer.decode(tokens).rstrip("\ufffd")
            yield text[len(shown) :]
            shown = text

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
        """What each text has more, `block` tokens at a time, up to and without its end token."""
        end = self.tokenizer.end
        if regex is not None:
            settings["constraint"] = decoding.regular_expression(
                regex, decoding.token_texts(self.tokenizer.decode, self.tokenizer.size), end
            )
        if negative_prompt is not None:
            settings["negative_prompts"] = [self.ids(negative_prompt)] * len(prompts)
        texts = [self.ids(prompt) for prompt in prompts]
        params = unrolled(averaged(state, "model"))
        room = self.length - max(map(len, texts))
        if room < 1:
            raise InputError(
                f"the prompt has {self.length - room} tokens, and the model's context is "
                f"{self.length}: it must be shorter"
            )
        ended = np.zeros(len(texts), bool)
        while new_tokens > 0 and not ended.all():
            now = min(new_tokens, room)
            given = dict(new_tokens=now, strategy=strategy, end=end, **settings)
            stretch = continued(
                decoder(self.network), params, texts, rng, block=min(block, now), **given
            )
            for rows in stretch:
                new = [row[:0] if done else row for row, done in zip(rows, ended, strict=True)]
                ended |= [end in row for row in new]
                texts = [[*text, *row.tolist()] for text, row in zip(texts, new, strict=True)]
                yield [row[row != end].tolist() for row in new]
            new_tokens -= now
            kept = self.length // 2
            texts = [text[-kept:] for text in texts]
            room, rng = self.length - kept, named(rng, "on")

    def ids(self, prompt: str) -> list[int]:
        """The prompt's tokens; of an empty one the end token, after which documents start."""
        return self.tokenizer.encode(prompt).tolist() or [self.tokenizer.end]


SETTINGS = (
    *("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "beams", "length_penalty"),
    *("alpha", "regex", "negative_prompt", "guidance"),
)


def continued(
    decoder: Decoder,
    params: Any,
    texts: Sequence[Sequence[int]],
    rng: Rng,
    *,
    block: int,
    **given: Any,
) -> Iterator[list[np.ndarray]]:
    """`decoding.stream`, and of a search, which knows its text at the end, all at once."""
    call = decoder, params, texts, rng
    if given["strategy"] != "beam":
        yield from decoding.stream(*call, block=block, **given)
        return
    found = decoding.generate(*call, **given)
    rows = zip(found.tokens_BxN, found.lengths_B, strict=True)
    yield [tokens[:length] for tokens, length in rows]


@functools.cache
def decoder(network: Any) -> Decoder:
    """The network as decoding sees it; its parameters are those of layers one by one."""
    network = network.clone(scan=False) if hasattr(network, "scan") else network

    def empty(batch: int, capacity: int) -> Any:
        return network.apply({}, batch, capacity, method="empty_cache")

    def extend(params: Params, cache: Any, tokens: Array, counts: Array) -> tuple[Array, Any]:
        return network.apply({"params": params}, tokens, counts, cache, method="decode")

    def logits(params: Params, hidden: Array) -> Array:
        return network.apply({"params": params}, hidden, method="logits")

    return Decoder(
        vocabulary=network.vocabulary,
        length=network.length,
        empty=empty,
        extend=extend,
        logits=logits,
        rewind=rewound if network.rewinds else None,
        take=taken,
        grow=grown if network.rewinds else None,
    )


def rewound(cache: Any, lengths: Int[Array, " B"]) -> Any:
    return dataclasses.replace(cache, lengths_B=lengths)


def grown(cache: Any, capacity: int) -> Any:
    """A cache of positions, the second axis of a layer's keys and values, with more of them."""

    def wider(array: Array) -> Array:
        if array.shape[1] == capacity:
            return array
        more = [(0, capacity - array.shape[1]) if axis == 1 else (0, 0) for axis in range(4)]
        return jnp.pad(array, more)

    return dataclasses.replace(cache, layers=jax.tree.map(wider, cache.layers))


def taken(cache: Any, index: Int[Array, " N"]) -> Any:
    """Rows of a cache, whose every array has the rows first."""
    return jax.tree.map(lambda array: array[index], cache)
