"""The transformer's exact claims: what sinusoids, the scale of products and the mask are for."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kernels.attention import attention
from papers.ledger import Claim
from papers.rules import Measurement, identity, violated
from research.networks.positions import sinusoids
from research.networks.transformer import Transformer

WIDTH, LENGTH = 512, 2048  # the base model's width
OFFSETS = (1, 7, 64, 1000)
SIZES = (16, 64, 256, 1024)  # d_k
PRODUCTS = 20_000
QUERIES, KEYS = 512, 64
SHAPE: dict[str, Any] = dict(vocabulary=32, length=16, width=32, layers=2, heads=4)


def measure_offsets(seed: int) -> Measurement:
    """The greatest error of PE(pos + k) = M PE(pos), beside the best M of a random table."""
    table = np.asarray(sinusoids(LENGTH, WIDTH), np.float64)
    noise = np.random.default_rng(seed).normal(size=table.shape)
    errors = [np.abs(table[k:] - table[:-k] @ turn(k).T).max() for k in OFFSETS]
    wrong = [np.abs(table[k:] - table[:-k] @ turn(k + 1).T).max() for k in OFFSETS]
    return {
        "error": max(errors),
        "error_of_another_offset": min(wrong),
        "unexplained_of_sinusoids": max(unexplained(table, k) for k in OFFSETS),
        "unexplained_of_noise": min(unexplained(noise, k) for k in OFFSETS),
    }


def turn(offset: int) -> np.ndarray:
    """M of one offset: each pair (sin, cos) is turned by offset / 10000^(2i / width)."""
    whole = np.zeros((WIDTH, WIDTH))
    for i in range(0, WIDTH, 2):
        angle = offset / 10000 ** (i / WIDTH)
        cos, sin = math.cos(angle), math.sin(angle)
        whole[i : i + 2, i : i + 2] = [[cos, sin], [-sin, cos]]
    return whole


def unexplained(table: np.ndarray, offset: int) -> float:
    """The share of the rows' squares that no linear function of the rows `offset` before gives."""
    before, after = table[:-offset], table[offset:]
    found, *_ = np.linalg.lstsq(before, after, rcond=None)
    return float(np.sum((after - before @ found) ** 2) / np.sum(after**2))


def measure_scale(seed: int) -> Measurement:
    """Var(q.k) / d_k, and gradients of a softmax of 64 keys at d_k = 1024 against those at 16."""
    rng = np.random.default_rng(seed)
    ratios = []
    for size in SIZES:
        q, k = rng.normal(size=(2, PRODUCTS, size)).astype(np.float32)
        ratios.append(float(np.var(np.einsum("nd,nd->n", q, k)) / size))
    smallest, largest = SIZES[0], SIZES[-1]
    scaled, plain = (
        gradient(seed, largest, scale) / gradient(seed, smallest, scale) for scale in (None, 1.0)
    )
    return {
        "variance_over_size": float(np.mean(ratios)),
        "greatest_error": max(abs(ratio - 1) for ratio in ratios),
        "gradient_scaled": scaled,
        "gradient_unscaled": plain,
    }


def gradient(seed: int, size: int, scale: float | None) -> float:
    """The median over queries of the norm of d(w . output) / d(logits), for random w."""
    rngs = jax.random.split(jax.random.key(seed), 4)
    q, k, v, w = (
        jax.random.normal(rng, (1, count, 1, size))
        for rng, count in zip(rngs, (QUERIES, KEYS, KEYS, QUERIES), strict=True)
    )

    def out(bias: Any) -> Any:
        return jnp.sum(w * attention(q, k, v, bias=bias, scale=scale)) / math.sqrt(size)

    of_logits = jax.grad(out)(jnp.zeros((1, 1, QUERIES, KEYS)))
    return float(jnp.median(jnp.linalg.norm(of_logits, axis=-1)))


def measure_mask(seed: int) -> Measurement:
    """The greatest gradient of an output by a later token's embedding, masked and not."""
    return {
        "leak": leak(seed, causal=True),
        "leak_unmasked": leak(seed, causal=False),
        "by_earlier_tokens": leak(seed, causal=True, earlier=True),
    }


def leak(seed: int, *, causal: bool, earlier: bool = False) -> float:
    """Over all pairs of places; every token is another, so that a row of the table is a place."""
    net = Transformer(positions="sinusoidal", causal=causal, **SHAPE)
    tokens = jnp.arange(net.length)[None]
    params = jax.jit(net.init)(jax.random.key(seed), tokens)["params"]

    # The components of what is normalized add up to nothing: they are weighed.
    weights = jax.random.normal(jax.random.key(seed + 1), (net.width,))

    def out(table: Any) -> Any:
        return net.apply({"params": params | {"tokens": table}}, tokens)[0] @ weights

    by_TxVxD = jax.jit(jax.jacrev(out))(params["tokens"])
    by_TxT = np.abs(np.asarray(by_TxVxD)).max(axis=-1)[:, : net.length]
    other = np.tril(by_TxT, -1) if earlier else np.triu(by_TxT, 1)
    return float(other.max())


CLAIMS = [
    Claim(
        id="attention_is_all_you_need.offsets",
        statement="For any offset k, PE(pos + k) is a linear function of PE(pos).",
        source="section 3.5",
        figure="identity [M]",
        kind="exact",
        protocol=f"{LENGTH} positions at width {WIDTH} against the rotation by k of each "
        f"of its pairs, k of {', '.join(map(str, OFFSETS))}; beside it the rotation by k + 1, and "
        "the best linear function on a table of Gaussian noise.",
        measure=measure_offsets,
        rules=[
            identity("error", 0, tolerance=1e-6),
            identity("unexplained_of_sinusoids", 0, tolerance=1e-9),
            violated("error_of_another_offset", least=0.1),
            violated("unexplained_of_noise", least=0.1),
        ],
        ours=["error", "unexplained_of_sinusoids"],
        baseline=["error_of_another_offset", "unexplained_of_noise"],
        settings={"width": WIDTH, "length": LENGTH, "offsets": OFFSETS},
    ),
    Claim(
        id="attention_is_all_you_need.scale",
        statement="Components of mean 0 and variance 1 make products q.k of variance d_k, whose "
        "softmax has extremely small gradients at large d_k; 1 / sqrt(d_k) counteracts it.",
        source="section 3.2.1, footnote 4",
        figure="variance d_k [M]",
        figures={"variance_over_size": 1.0},
        kind="direction",
        protocol=f"{PRODUCTS} products at d_k of {', '.join(map(str, SIZES))}; the gradient by the "
        f"logits of {QUERIES} queries over {KEYS} keys, the median norm at the largest d_k over "
        "that at the smallest, with the scale and without.",
        measure=measure_scale,
        rules=[
            identity("greatest_error", 0, tolerance=0.05),
            identity("gradient_scaled", 1, tolerance=0.2),
            identity("gradient_unscaled", 0, tolerance=0.02),
        ],
        seeds=5,
        ours=["variance_over_size", "gradient_scaled"],
        baseline=["gradient_unscaled"],
        settings={"sizes": SIZES, "products": PRODUCTS, "queries": QUERIES, "keys": KEYS},
    ),
    Claim(
        id="attention_is_all_you_need.mask",
        statement="Masking in the decoder prevents positions from attending to later ones: what is "
        "predicted depends on the outputs before alone.",
        source="section 3.1, section 3.2.3",
        figure="identity [M]",
        kind="exact",
        protocol="A random network of 2 layers and width 32; the greatest gradient of any place's "
        "output by a later token, beside the same network without a mask.",
        measure=measure_mask,
        rules=[
            identity("leak", 0, tolerance=0),
            violated("leak_unmasked", least=1e-4),
            violated("by_earlier_tokens", least=1e-4),
        ],
        seeds=5,
        ours=["leak", "by_earlier_tokens"],
        baseline=["leak_unmasked"],
        settings={"shape": SHAPE},
    ),
    Claim(
        id="attention_is_all_you_need.translation",
        statement="The big transformer translates WMT 2014 better than all models before it.",
        source="table 2",
        figure="BLEU 28.4 English to German, 41.8 English to French [M]",
        figures={"en_de": 28.4, "en_fr": 41.8},
        kind="accelerator",
        protocol="213M parameters, 300,000 steps of 25,000 source and target tokens, beams of 4.",
        not_run="3.5 days of eight P100s, and WMT 2014 is a download",
    ),
]
