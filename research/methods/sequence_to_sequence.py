"""Sequence to sequence: a text written after another that is read, by maximum likelihood."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from research.data.examples import Dataset
from research.data.text_sets import Tokenized
from research.data.tokenizers import Tokenizer
from research.errors import InputError, check_least
from research.evaluation.ngrams import ngram_nats
from research.methods.decoders import remembered, source_decoder
from research.methods.writing import BLOCK, SETTINGS, continued, gathered, headed, pattern, shown
from research.networks.encoder_decoder import Source
from research.networks.transformer import unrolled
from research.training.method import Aux, Objective, TextWriter
from research.training.optimizers import averaged
from research.training.rng import named
from research.training.state import TrainState
from research.training.types import Batch, Metrics, Params, Rng, Scalar


class SequenceToSequence(TextWriter):
    """p(target | input) = prod p(token | target before, input), by teacher forcing.

    A batch is `inputs` (B, S) and `targets` (B, T), int32: each is ended by the tokenizer's `end`
    and filled up. The decoder starts from `pad`, as T5's does (1910.10683). `network` is an
    `EncoderDecoder`.
    """

    fields: Sequence[str] = ("inputs", "targets")

    def __init__(
        self, *, network: Any, optimizer: optax.GradientTransformation, tokenizer: Tokenizer
    ):
        if not hasattr(network, "target_length"):
            raise InputError("network.name must be encoder_decoder: one text is told after another")
        self.network = network
        self.optimizer = optimizer
        self.tokenizer = tokenizer

    def init_params(self, rng: Rng, batch: Batch) -> dict[str, Params]:
        tokens, lengths = jnp.zeros((1, 1), jnp.int32), jnp.ones(1, jnp.int32)

        def through(network: Any) -> Array:
            return network.logits(network(tokens, network.encode(tokens, lengths)))

        return {"model": self.network.init(rng, method=through)["params"]}

    def objectives(self) -> Sequence[Objective]:
        return [Objective("model", self.loss, self.optimizer)]

    def loss(self, params: Params, state: TrainState, batch: Batch, rng: Rng) -> tuple[Scalar, Aux]:
        """The mean of nats a target token."""
        pairs = self.pairs(batch, rng)
        nats = self.nats(params, pairs, dropout=named(rng, "dropout"))
        return jnp.sum(nats) / jnp.sum(self.counted(pairs)), Aux()

    def evaluate(self, state: TrainState, batch: Batch, rng: Rng) -> Metrics:
        """`loss` in nats and `accuracy` a target token, each (B,); `weight` is their number."""
        pairs = self.pairs(batch, rng)
        logits, targets = self.logits(averaged(state, "model"), pairs), pairs["targets"]
        nats = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
        hits = jnp.argmax(logits, axis=-1) == targets
        counted = self.counted(pairs)
        weight = jnp.sum(counted, axis=1)
        loss, accuracy = (jnp.sum(x * counted, axis=1) / weight for x in (nats, hits))
        return dict(loss=loss, accuracy=accuracy, weight=weight)

    def trivial(self, train: Dataset, test: Dataset) -> Mapping[str, Mapping[str, float]]:
        """What unigrams and bigrams of the training targets get: they read no inputs."""
        seen, met = map(self.transitions, (train, test))
        return {"loss": ngram_nats(seen, met, vocabulary=self.tokenizer.size)}

    def transitions(self, data: Dataset) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
        """What stands before each target token of the set, and the token."""
        assert isinstance(data, Tokenized)
        pairs = jax.jit(self.pairs)(data.rows(), jax.random.key(0))
        counted = np.asarray(self.counted(pairs)) > 0
        return np.asarray(self.before(pairs))[counted], np.asarray(pairs["targets"])[counted]

    def pairs(self, batch: Batch, rng: Rng) -> Batch:
        """`inputs` and `targets` of a batch, which here has them."""
        return batch

    def nats(self, params: Params, pairs: Batch, dropout: Rng | None = None) -> Float[Array, "B T"]:
        """-log p of each target token, 0 beyond the end; with `dropout` as in training."""

        def through(network: Any, before: Array, source: Source, **how: Any) -> Array:
            return network.log_likelihood(before, pairs["targets"], source, **how)

        return -self.counted(pairs) * self.apply(params, pairs, through, dropout)

    def logits(self, params: Params, pairs: Batch) -> Float[Array, "B T V"]:
        """Of each target token after those before it."""

        def through(network: Any, before: Array, source: Source, **how: Any) -> Array:
            return network.logits(network(before, source, **how))

        return self.apply(params, pairs, through)

    def apply(
        self, params: Params, pairs: Batch, through: Any, dropout: Rng | None = None
    ) -> Array:
        """The network on what stands before each target and on the inputs, which it encodes."""
        before, how = self.before(pairs), dict(train=dropout is not None)

        def whole(network: Any) -> Array:
            source = network.encode(pairs["inputs"], self.lengths(pairs["inputs"]), **how)
            return through(network, before, source, **how)

        rngs = None if dropout is None else {"dropout": dropout}
        return self.network.apply({"params": params}, method=whole, rngs=rngs)

    def before(self, pairs: Batch) -> Int[Array, "B T"]:
        """What stands before each target token: first `pad`."""
        start = ((0, 0), (1, 0))
        return jnp.pad(pairs["targets"][:, :-1], start, constant_values=self.tokenizer.pad)

    def counted(self, pairs: Batch) -> Float[Array, "B T"]:
        """1 for each target token up to its end."""
        targets = pairs["targets"]
        seen = jnp.arange(targets.shape[1]) < self.lengths(targets)[:, None]
        return seen.astype(jnp.float32)

    def lengths(self, tokens_BxT: Int[Array, "B T"]) -> Int[Array, " B"]:
        """Of each row up to and with its end token."""
        return jnp.argmax(tokens_BxT == self.tokenizer.end, axis=1) + 1

    def sample(
        self,
        state: TrainState,
        rng: Rng,
        *,
        count: int,
        batch: Batch | None = None,
        prompt: str | None = None,
        new_tokens: int | None = None,
        strategy: str = "greedy",
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
        """`texts` written after the prompt, or after the batch's inputs.

        Of a batch also its `inputs` and `references`, and `compared_texts` with all three to read.
        At most `new_tokens` are written, by default as many as the network can. `strategy` is one
        of `decoding.STRATEGIES`, which says what settings it takes; `regex` is what a text must
        match, whole; `negative_prompt` is another input, whose texts guidance leads away from.
        """
        options = {k: v for k, v in locals().items() if k in SETTINGS and v is not None}
        pairs = None if prompt is not None or batch is None else self.pairs(batch, rng)
        inputs = [self.read(prompt or "")] * count if pairs is None else self.rows(pairs["inputs"])
        asked: dict[str, Any] = dict(new_tokens=new_tokens, strategy=strategy, **options)
        parts = self.written(state, rng, inputs, block=self.network.target_length, **asked)
        rows = gathered(parts, len(inputs))
        found = {"texts": list(map(self.text, rows, inputs))}
        if pairs is not None:
            found["inputs"] = [self.tokenizer.decode(row) for row in inputs]
            found["references"] = list(map(self.text, self.rows(pairs["targets"]), inputs))
            found["compared_texts"] = [
                f"{given}\n\nwritten:   {text}\nreference: {reference}"
                for text, given, reference in zip(*found.values(), strict=True)
            ]
        return {name: np.array(values, object) for name, values in found.items()}

    def stream(
        self,
        state: TrainState,
        rng: Rng,
        *,
        batch: Batch | None = None,
        prompt: str | None = None,
        new_tokens: int | None = None,
        strategy: str = "greedy",
        **settings: Any,
    ) -> Iterator[str]:
        """What is written after the prompt, in pieces; else the batch's first input, and that."""
        before = ""
        if prompt is None and batch is not None:
            inputs, *_ = self.rows(self.pairs(batch, rng)["inputs"])
            before = f"{self.tokenizer.decode(inputs)}\n\n"
        else:
            inputs = self.read(prompt or "")
        options = {name: value for name, value in settings.items() if value is not None}
        asked: dict[str, Any] = dict(new_tokens=new_tokens, strategy=strategy, **options)
        parts = self.written(state, rng, [inputs], block=BLOCK, **asked)
        yield from headed(before, shown(parts, lambda tokens: self.text(tokens, inputs)))

    def written(
        self,
        state: TrainState,
        rng: Rng,
        inputs: Sequence[Sequence[int]],
        *,
        new_tokens: int | None,
        block: int,
        strategy: str,
        regex: str | None = None,
        negative_prompt: str | None = None,
        **settings: Any,
    ) -> Iterator[list[list[int]]]:
        """What each text has more, `block` tokens at a time, up to and without its end token."""
        end, start = self.tokenizer.end, [self.tokenizer.pad]
        if regex is not None:
            settings["constraint"] = pattern(regex, self.tokenizer)
        texts = [start] * len(inputs)
        if negative_prompt is not None:
            # Rows of a guided decoder are a text and its negative one by turns.
            inputs = [row for own in inputs for row in (own, self.read(negative_prompt))]
            settings["negative_prompts"] = texts
        params = unrolled(averaged(state, "model"))
        source = remembered(self.network, params, *padded(inputs, self.network.input_length))
        room = self.network.target_length - 1
        if new_tokens is not None:
            check_least(1, new_tokens=new_tokens)
        now = room if new_tokens is None else min(new_tokens, room)
        asked: dict[str, Any] = dict(new_tokens=now, strategy=strategy, end=end, **settings)
        given = {"params": params, "source": source}
        rows = continued(
            source_decoder(self.network), given, texts, rng, block=min(block, now), **asked
        )
        for more in rows:
            yield [row[row != end].tolist() for row in more]

    def read(self, prompt: str) -> list[int]:
        """The tokens of an input, cut where it is too long, and its end."""
        ids = self.tokenizer.encode(prompt).tolist()
        return [*ids[: self.network.input_length - 1], self.tokenizer.end]

    def text(self, written: Sequence[int], inputs: Sequence[int]) -> str:
        """What the tokens written after these inputs say."""
        return self.tokenizer.decode(written)

    def rows(self, tokens: Any) -> list[list[int]]:
        """Each row up to and with its end token."""
        lengths = np.asarray(self.lengths(jnp.asarray(tokens)))
        return [row[:n].tolist() for row, n in zip(np.asarray(tokens), lengths, strict=True)]


def padded(
    inputs: Sequence[Sequence[int]], length: int
) -> tuple[Int[Array, "B S"], Int[Array, " B"]]:
    """Rows as one array of `length` tokens, and how long each is."""
    tokens_BxS = np.zeros((len(inputs), length), np.int32)
    for row, own in zip(tokens_BxS, inputs, strict=True):
        row[: len(own)] = own
    return jnp.asarray(tokens_BxS), jnp.array([len(own) for own in inputs], jnp.int32)
