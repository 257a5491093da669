"""T5's pretraining: spans of a text are taken out, and written again after what is left."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Int

from research.data.tokenizers import Tokenizer
from research.errors import InputError
from research.methods.sequence_to_sequence import SequenceToSequence
from research.methods.writing import around_gaps
from research.training.method import TextWriter
from research.training.rng import named
from research.training.types import Batch, Rng

GAP = "___"  # what stands in a prompt for a span to be written


class Plan(NamedTuple):
    """How much of a text of so many tokens is taken out: `noise` tokens in `spans`."""

    length: int
    noise: int
    spans: int

    @property
    def inputs(self) -> int:
        """Tokens that are left, a sentinel for each span, and the end."""
        return self.length - self.noise + self.spans + 1

    @property
    def targets(self) -> int:
        """Each span after its sentinel, the last sentinel, and the end."""
        return self.noise + self.spans + 2


def plan(length: int, *, density: float = 0.15, mean_span: float = 3.0) -> Plan:
    """T5's numbers (1910.10683, sections 3.1.4 and 3.3.4): 15% of the tokens, spans of 3.

    Raises:
      InputError: a text of one token, a density outside of (0, 1) or a span below 1.
    """
    if length < 2 or not 0 < density < 1 or not mean_span >= 1:
        given = f"{length} tokens, density {density}, mean span {mean_span}"
        raise InputError(f"no spans of {given}; it takes 2 or more, within (0, 1), and 1 or more")
    noise = min(max(round(length * density), 1), length - 1)
    return Plan(length, noise, min(max(round(noise / mean_span), 1), length - noise))


def noise_mask(rng: Rng, plan: Plan) -> Bool[Array, " L"]:
    """Which tokens are taken out: exactly `plan.noise`, in `plan.spans` spans.

    Lengths of spans, and of what lies between, are any composition alike. The text starts with what
    stays and ends with a span, as in T5's own code.
    """
    kept = composition(named(rng, "kept"), plan.length - plan.noise, plan.spans)
    taken = composition(named(rng, "taken"), plan.noise, plan.spans)
    ends_2N = jnp.cumsum(jnp.stack([kept, taken], axis=1).ravel())
    piece_L = jnp.searchsorted(ends_2N, jnp.arange(plan.length), side="right")
    return piece_L % 2 == 1


def composition(rng: Rng, total: int, parts: int) -> Int[Array, " N"]:
    """`parts` numbers of 1 or more that add up to `total`, each such list as likely as another."""
    cuts = jax.random.permutation(rng, jnp.arange(1, total))[: parts - 1]
    return jnp.diff(jnp.sort(cuts), prepend=0, append=total)


def corrupted(
    tokens: Int[Array, " L"],
    mask: Bool[Array, " L"],
    plan: Plan,
    *,
    sentinels: Sequence[int],
    end: int,
    pad: int,
) -> tuple[Int[Array, " I"], Int[Array, " T"]]:
    """(inputs, targets) of `plan`'s sizes: figure 2 of 1910.10683, each ended by `end`.

    A span of the mask is one sentinel in the inputs; in the targets it stands after that sentinel,
    and after all spans comes one sentinel more. A mask of fewer is filled up with `pad`.
    """
    marks = jnp.array(sentinels)
    starts = mask & ~jnp.pad(mask[:-1], (1, 0))
    span_L = jnp.cumsum(starts) - 1
    left_L = jnp.where(starts, marks[span_L], tokens)
    stays = ~mask | starts
    inputs = jnp.full(plan.inputs, pad, jnp.int32)
    inputs = inputs.at[jnp.where(stays, jnp.cumsum(stays) - 1, plan.inputs)].set(
        left_L, mode="drop"
    )
    # A token of span k has k + 1 sentinels before it.
    place_L = jnp.cumsum(mask) + span_L
    targets = jnp.full(plan.targets, pad, jnp.int32)
    targets = targets.at[jnp.where(mask, place_L, plan.targets)].set(tokens, mode="drop")
    targets = targets.at[jnp.where(starts, place_L - 1, plan.targets)].set(left_L, mode="drop")
    noise, spans = jnp.sum(mask), jnp.sum(starts)
    targets = targets.at[noise + spans].set(marks[spans])
    return inputs.at[jnp.sum(stays)].set(end), targets.at[noise + spans + 1].set(end)


def restored(
    inputs: Sequence[int], targets: Sequence[int], *, sentinels: Sequence[int]
) -> list[int]:
    """Each sentinel of the inputs, without their end, replaced by what the targets have after it.

    What a model writes before any sentinel, or after one that isn't there, is dropped.
    """
    spans: dict[int, list[int]] = {}
    current: list[int] = []
    for token in targets:
        if token in sentinels:
            current = spans.setdefault(token, [])
        else:
            current.append(token)
    parts = (spans.get(token, []) if token in sentinels else [token] for token in inputs)
    return [token for part in parts for token in part]


class SpanCorruption(SequenceToSequence):
    """p(spans taken out | what is left) of a stream's windows: a batch has `tokens` (B, L).

    The spans are drawn anew with every step. `texts` are whole again, by the model's spans; in a
    prompt `___` stands for a span, else there is one at its end. What is written ends at an end
    token: where documents' ends are taken out with a span, what the targets have after one is read
    in training alone.
    """

    fields = ("tokens",)

    def __init__(
        self,
        *,
        network: Any,
        optimizer: optax.GradientTransformation,
        tokenizer: Tokenizer,
        length: int,
        packed: bool,
        noise_density: float = 0.15,
        mean_span: float = 3.0,
    ):
        """Raises InputError for packed rows and a tokenizer or a network with too little room."""
        super().__init__(network=network, optimizer=optimizer, tokenizer=tokenizer)
        self.plan = plan(length + 1, density=noise_density, mean_span=mean_span)
        if packed:
            raise InputError("span corruption takes data.packing='windows'")
        if len(tokenizer.sentinels) <= self.plan.spans:
            raise InputError(
                f"{self.plan.spans} spans need {self.plan.spans + 1} sentinels, the tokenizer has "
                f"{len(tokenizer.sentinels)}; data.tokenizer='unigram' has 100"
            )
        for name, needed in (
            ("input_length", self.plan.inputs),
            ("target_length", self.plan.targets),
        ):
            if getattr(network, name) < needed:
                raise InputError(f"network.{name} must be {needed} or more")

    def pairs(self, batch: Batch, rng: Rng) -> Batch:
        """Each row with spans of its own taken out."""
        tokens_BxL = jnp.asarray(batch["tokens"])
        rngs = jax.random.split(named(rng, "spans"), len(tokens_BxL))
        tokenizer = self.tokenizer

        def pair(tokens: Array, rng: Rng) -> tuple[Array, Array]:
            return corrupted(
                tokens,
                noise_mask(rng, self.plan),
                self.plan,
                sentinels=tokenizer.sentinels,
                end=tokenizer.end,
                pad=tokenizer.pad,
            )

        inputs, targets = jax.vmap(pair)(tokens_BxL, rngs)
        return {"inputs": inputs, "targets": targets}

    def lengths(self, tokens_BxT: Int[Array, "B T"]) -> Int[Array, " B"]:
        """Of each row less what fills it up: ends of documents stand within a window."""
        return jnp.sum(tokens_BxT != self.tokenizer.pad, axis=1)

    def read(self, prompt: str) -> list[int]:
        """A prompt's tokens with a sentinel for each `___`, and the end."""
        pieces = around_gaps(self.tokenizer, prompt if GAP in prompt else prompt + GAP, GAP)
        room = self.network.input_length
        gaps, most = len(pieces) - 1, len(self.tokenizer.sentinels) - 1
        if gaps > most:
            raise InputError(f"the prompt has {gaps} gaps; {most} are the most")
        ids = pieces[0].tolist()
        for sentinel, piece in zip(self.tokenizer.sentinels, pieces[1:], strict=False):
            ids += [sentinel, *piece.tolist()]
        if len(ids) >= room:
            raise InputError(f"the prompt has {len(ids)} tokens, and the network takes {room - 1}")
        return [*ids, self.tokenizer.end]

    def written(
        self, *given: Any, regex: str | None = None, **settings: Any
    ) -> Iterator[list[list[int]]]:
        """As it is, but raises InputError for a `regex`, which would allow no sentinel."""
        if regex is not None:
            raise InputError("span corruption takes no regex: it writes spans after sentinels")
        return super().written(*given, **settings)

    def text(self, written: Sequence[int], inputs: Sequence[int]) -> str:
        """The whole text: the inputs, with what was written in its gaps."""
        marks = self.tokenizer.sentinels
        return self.tokenizer.decode(restored(inputs, written, sentinels=marks))

    # Whole: gaps are not filled from left to right.
    stream = TextWriter.stream
