"""Accuracy is the share of the tokens that count whose likeliest token was right, by hand."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax

from research.methods.language_model import LanguageModel
from research.methods.masked_language_model import MaskedLanguageModel
from research.methods.sequence_to_sequence import SequenceToSequence
from research.training.state import TrainState
from tests.methods.test_language_model import TOKENIZER
from tests.methods.test_sequence_to_sequence import TOKENIZER as LETTERS
from tests.methods.test_sequence_to_sequence import T, pairs, rows

LENGTH = 16
LIKELIEST = np.random.default_rng(0).integers(1, TOKENIZER.size - 1, LENGTH)
STATE = TrainState(0, {"model": {}}, {}, {})
RNG = jax.random.key(0)


class Told:
    """A network to which LIKELIEST is the likeliest token at each place, whatever it reads."""

    def apply(self, variables, read, *fields, method=None, **options):
        if method == "logits":
            return read  # hidden states are the logits
        logits = jax.nn.one_hot(LIKELIEST, TOKENIZER.size)
        return jnp.broadcast_to(logits, (len(read), *logits.shape))


def answers(*wrong):
    """A row for each list of places, at which it is not the likeliest token but the next."""
    tokens = np.tile(LIKELIEST, (len(wrong), 1))
    for row, places in zip(tokens, wrong, strict=True):
        row[places] += 1
    return tokens.astype(np.int32)


def made(kind, **arguments):
    shared = dict(network=Told(), optimizer=optax.adam(1e-3), tokenizer=TOKENIZER, length=LENGTH)
    return kind(**shared, **arguments)


def test_of_a_language_model():
    """Of packed rows 12 tokens of the first count, all of the second; unpacked all do."""
    targets = answers([0, 3, 5, 9, 14], [15])
    tokens = np.concatenate([targets[:, :1], targets], axis=1)
    segments = np.array([[1] * 6 + [2] * 8 + [0] * 3, [1] * 17])
    positions = np.tile(np.arange(17), (2, 1))
    batch = {"tokens": tokens, "segments": segments, "positions": positions}
    batch = jax.tree.map(jnp.asarray, batch)
    for packed, expected in (True, [9 / 12, 15 / 16]), (False, [11 / 16, 15 / 16]):
        model = made(LanguageModel, packed=packed, bytes_per_token=1.0)
        found = model.evaluate(STATE, batch, RNG)
        np.testing.assert_allclose(found["accuracy"], expected, rtol=1e-6)


def test_of_a_masked_language_model():
    """All real tokens are chosen: all of the first row, and 9 of the second."""
    tokens = np.pad(answers([4, 11], [0, 12]), ((0, 0), (0, 1)))
    segments = (np.arange(17) < np.array([[17], [9]])).astype(np.int32)
    positions = np.tile(np.arange(17), (2, 1))
    batch = {"tokens": tokens, "segments": segments, "positions": positions}
    batch = jax.tree.map(jnp.asarray, batch)
    found = made(MaskedLanguageModel, share=1.0).evaluate(STATE, batch, RNG)
    np.testing.assert_allclose(found["accuracy"], [14 / 16, 8 / 9], rtol=1e-6)


class Writes(SequenceToSequence):
    """To it `abd` and `g` are the likeliest texts."""

    def logits(self, params, pairs):
        return jax.nn.one_hot(rows(["abd", "g"], T), LETTERS.size)


def test_of_sequence_to_sequence():
    """Three of the four tokens of `abc` and its end, and both of `g`'s."""
    network = SimpleNamespace(target_length=4)
    model = Writes(network=network, optimizer=optax.adam(1e-3), tokenizer=LETTERS)
    batch = jax.tree.map(jnp.asarray, pairs(["abcdef", "gh"]))
    found = model.evaluate(STATE, batch, RNG)
    np.testing.assert_allclose(found["accuracy"], [3 / 4, 1.0], rtol=1e-6)
