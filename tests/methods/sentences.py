"""Rows of tokens with labels, and a small encoder to classify them."""

import jax.numpy as jnp
import numpy as np

from research.data import tokenizers
from research.methods.text_classifier import TextClassifier
from research.networks.transformer import Transformer
from research.training.optimizers import optimizer

CLASSES = ("bird", "fish", "stone")


TOKENIZER = tokenizers.train("char", ["abcdefghij"])


def network(**options):
    encoder = dict(causal=False, norm_first=False, embedding_norm=True, types=2)
    return Transformer(
        vocabulary=TOKENIZER.size, length=6, width=8, layers=1, heads=2, **encoder, **options
    )


def classifier(made=None, *, ema_decay=None, **options):
    return TextClassifier(
        network=made or network(),
        optimizer=optimizer(learning_rate=1e-2, total_steps=1, ema_decay=ema_decay),
        tokenizer=TOKENIZER,
        classes=CLASSES,
        **options,
    )


def batch_of(size=16):
    """Rows of 2 to 6 tokens, from the fourth on of type 1, whose label the first one tells."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(1, 11, size=(size, 6), dtype=np.int32)
    segments = (np.arange(6) < rng.integers(2, 7, size=(size, 1))).astype(np.int32)
    label = (tokens[:, 0] + 1) % 3
    rows = dict(tokens=tokens * segments, segments=segments, types=segments * (np.arange(6) > 2))
    return {name: jnp.asarray(array) for name, array in {**rows, "label": label}.items()}
