"""FlashAttention's claims: the same output in memory that grows with the length, not its square."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kernels.attention import attention
from papers.ledger import Claim
from papers.rules import Measurement, identity, violated

einsum = functools.partial(np.einsum, optimize=True)  # by products, not by loops

LENGTHS = (1024, 2048, 4096, 8192)
HEADS, SIZE = 8, 64
EXACT_LENGTH = 1000  # no block's multiple


def ours(q: jax.Array, k: jax.Array, v: jax.Array, *, causal: bool) -> jax.Array:
    return attention(q, k, v, causal=causal, implementation="xla")


def standard(q: jax.Array, k: jax.Array, v: jax.Array, *, causal: bool) -> jax.Array:
    return jax.nn.dot_product_attention(q, k, v, is_causal=causal)


def measure_exactness(seed: int) -> Measurement:
    """The largest difference of output and gradients from float64's, over float64's largest."""
    *given, dout = (
        jax.random.normal(rng, (1, EXACT_LENGTH, HEADS, SIZE))
        for rng in jax.random.split(jax.random.key(seed), 4)
    )
    found = {}
    for causal in (False, True):
        truth = float64([*given, dout], causal)
        kind = "causal" if causal else "full"
        for name, call in (("ours", ours), ("standard", standard)):
            out, pull = jax.vjp(functools.partial(call, causal=causal), *given)
            found[f"{name}_{kind}_error"] = largest((out, *pull(dout)), truth)
    # A cheaper attention that isn't exact: 256 keys before each query, in place of all.
    near = attention(*given, causal=True, window=256, implementation="xla")
    return found | {"window_error": largest((near,), truth[:1])}


def float64(arrays: Sequence[jax.Array], causal: bool) -> tuple[np.ndarray, ...]:
    """The output and the gradients by q, k and v as the paper's algorithm 0 and eq. of B.2 say."""
    q, k, v, dout = (np.asarray(x, np.float64) for x in arrays)
    scale = SIZE**-0.5
    logits = scale * einsum("bthd,bshd->bhts", q, k)
    if causal:
        logits = np.where(np.tri(q.shape[1], dtype=bool), logits, -np.inf)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    out = einsum("bhts,bshd->bthd", weights, v)
    dweights = einsum("bthd,bshd->bhts", dout, v)
    dlogits = weights * (dweights - (weights * dweights).sum(-1, keepdims=True))
    return (
        out,
        scale * einsum("bhts,bshd->bthd", dlogits, k),
        scale * einsum("bhts,bthd->bshd", dlogits, q),
        einsum("bhts,bthd->bshd", weights, dout),
    )


def largest(found: Any, truth: Any) -> float:
    pairs = zip(found, truth, strict=True)
    return max(float(np.abs(np.asarray(a) - b).max() / np.abs(b).max()) for a, b in pairs)


def heads_of(seed: int) -> int:
    """Memory is no random number: a seed is a number of heads."""
    return HEADS + 4 * seed


def measure_memory(seed: int) -> Measurement:
    """Temporary bytes of the compiled output and gradients, ours and the standard's."""
    heads = heads_of(seed)
    own = {length: temporary_bytes(ours, length, heads) for length in LENGTHS}
    theirs = {length: temporary_bytes(standard, length, heads) for length in LENGTHS}
    savings = {f"saving_{n}": theirs[n] / own[n] for n in LENGTHS}
    return savings | {
        "doubling": own[8192] / own[4096],
        "standard_doubling": theirs[8192] / theirs[4096],
    }


def temporary_bytes(call: Callable[..., jax.Array], length: int, heads: int) -> int:
    """What causal attention of one sequence, with its gradients, needs besides its arguments."""

    def value_and_gradients(*given: jax.Array) -> Any:
        out, pull = jax.vjp(functools.partial(call, causal=True), *given)
        return out, pull(out)

    like = jax.ShapeDtypeStruct((1, length, heads, SIZE), jnp.float32)
    compiled = jax.jit(value_and_gradients).lower(like, like, like).compile()
    memory = compiled.memory_analysis()
    assert memory is not None
    return memory.temp_size_in_bytes


CLAIMS = [
    Claim(
        id="flash_attention.exact",
        statement="Attention by blocks with an online softmax is exact: output and gradients are "
        "standard attention's.",
        source="algorithms 1 and 4, theorem 1",
        figure="identity, difference 0 [M]",
        figures={"ours_full_error": 0, "ours_causal_error": 0},
        kind="exact",
        protocol=f"1 sequence of {EXACT_LENGTH}, {HEADS} heads of {SIZE}, float32 normal q, k, v "
        "and output gradient; the largest difference from float64's output and gradients, over "
        "their largest element. Baseline: JAX's own, and a window of 256, which is not exact.",
        measure=measure_exactness,
        rules=[
            identity("ours_full_error", 0, tolerance=1e-5),
            identity("ours_causal_error", 0, tolerance=1e-5),
            violated("window_error", least=0.01),
        ],
        seeds=5,
        ours=["ours_full_error", "ours_causal_error"],
        baseline=["standard_full_error", "standard_causal_error", "window_error"],
        settings={"length": EXACT_LENGTH, "heads": HEADS, "size": SIZE},
    ),
    Claim(
        id="flash_attention.memory",
        statement="Memory grows linearly with the length: 10 times less than standard attention's "
        "at 2K, 20 times at 4K.",
        source="the authors' README, memory; figure 3, right",
        figure="10X at sequence length 2K, 20X at 4K, on an A100 [V, the authors' README]",
        figures={"saving_2048": 10, "saving_4096": 20, "doubling": 2},
        kind="direction",
        protocol=f"Temporary bytes that XLA compiles for a CPU: causal, output and gradients, 1 "
        f"sequence, 8, 12 and 16 heads of {SIZE} (a seed each), float32; the standard is "
        "jax.nn.dot_product_attention. doubling is the memory at 8K over that at 4K: 2 if linear, "
        "4 if quadratic.",
        measure=measure_memory,
        rules=[
            violated("saving_2048", least=10),
            violated("saving_4096", least=20),
            identity("doubling", 2, tolerance=0.2),
            violated("standard_doubling", least=3.5),
        ],
        seeds=3,
        ours=["saving_1024", "saving_2048", "saving_4096", "saving_8192", "doubling"],
        baseline=["standard_doubling"],
        settings={"lengths": LENGTHS, "heads": [heads_of(seed) for seed in range(3)], "size": SIZE},
    ),
    Claim(
        id="flash_attention.gpt2",
        statement="GPT-2 trains up to 3 times faster than Hugging Face's at the same perplexity.",
        source="section 4.1, table 2",
        figure="GPT-2 small 9.5 to 2.7 days on 8 A100, perplexity 18.2 [M]",
        figures={"speedup": 3.5},
        kind="accelerator",
        protocol="OpenWebText, 400K steps on 8 A100.",
        not_run="its training takes days of accelerators; OpenWebText is a download",
    ),
]
