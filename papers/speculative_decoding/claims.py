"""The claims that speculative decoding writes as many tokens as a formula says, and the same."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy

from papers.ledger import Claim
from papers.rules import Measurement, identity, violated
from research.sampling.decoding import Decoder, generate, stream

VOCABULARY = 8
ROWS = 65_536  # texts
DRAFTS = (1, 3, 7)  # gamma
COUNT = 3  # tokens whose joint distribution is tested, as `joint` has it
SCALE = 1.0  # deviation of the target's logits; the draft's are half target, half its own


def model() -> Decoder:
    """A table of the next token's logits by the last two, of which the cache holds the first."""

    def empty(batch: int, capacity: int) -> Any:
        return jnp.zeros((batch, capacity), jnp.int32), jnp.zeros(batch, jnp.int32)

    def extend(table: Any, cache: Any, tokens_BxT: Any, counts_B: Any) -> Any:
        history_BxC, lengths_B = cache
        rows_Bx1, at_T = jnp.arange(len(counts_B))[:, None], jnp.arange(tokens_BxT.shape[1])
        place_BxT = lengths_B[:, None] + at_T
        kept_BxT = jnp.where(at_T < counts_B[:, None], place_BxT, history_BxC.shape[1])
        history_BxC = history_BxC.at[rows_Bx1, kept_BxT].set(tokens_BxT, mode="drop")
        before_BxT = history_BxC[rows_Bx1, jnp.maximum(place_BxT - 1, 0)]
        return table[before_BxT, tokens_BxT], (history_BxC, lengths_B + counts_B)

    return Decoder(
        vocabulary=VOCABULARY,
        length=64,
        empty=empty,
        extend=extend,
        logits=lambda table, hidden: hidden,
        rewind=lambda cache, lengths_B: (cache[0], lengths_B),
        take=lambda cache, index_N: jax.tree.map(lambda leaf: leaf[index_N], cache),
    )


MODEL = model()
PROMPT = [0, 1]


def tables(seed: int, *, of_context: bool) -> tuple[np.ndarray, np.ndarray]:
    """Logits of target and draft, (V, V, V); without context they are the same after any tokens."""
    rng = np.random.default_rng(seed)
    shape = (VOCABULARY,) * 3 if of_context else (1, 1, VOCABULARY)
    target = SCALE * rng.normal(size=shape)
    draft = 0.5 * target + 0.5 * SCALE * rng.normal(size=shape)
    whole = (VOCABULARY,) * 3
    return np.broadcast_to(target, whole), np.broadcast_to(draft, whole)


def on_device(table: np.ndarray) -> jax.Array:
    return jnp.asarray(table, jnp.float32)


def speculating(target: np.ndarray, draft: np.ndarray, draft_tokens: int) -> dict[str, Any]:
    return {
        "decoder": MODEL,
        "params": on_device(target),
        "prompts": [PROMPT] * ROWS,
        "strategy": "speculative",
        "draft": MODEL,
        "draft_params": on_device(draft),
        "draft_tokens": draft_tokens,
    }


def expected_tokens(acceptance: float, draft_tokens: int) -> float:
    """(1 - a^(g + 1)) / (1 - a), equation 1."""
    return (1 - acceptance ** (draft_tokens + 1)) / (1 - acceptance)


def measure_tokens(seed: int) -> Measurement:
    """Mean tokens of a first round by gamma, against equation 1 of the exact acceptance rate."""
    target, draft = tables(seed, of_context=False)
    p, q = (jax.nn.softmax(jnp.asarray(table[0, 0])) for table in (target, draft))
    acceptance = float(np.minimum(p, q).sum())  # corollary 3.6
    measured = {"acceptance": acceptance, "standard_tokens": 1.0}
    errors = []
    for draft_tokens in DRAFTS:
        given = speculating(target, draft, draft_tokens)
        rng = jax.random.key(seed)
        # A row that may write more than gamma tokens drafts them all, in its first round.
        rounds = stream(**given, rng=rng, new_tokens=draft_tokens + 1, block=1)
        mean = float(np.mean([len(row) for row in next(rounds)]))
        errors.append(abs(mean / expected_tokens(acceptance, draft_tokens) - 1))
        measured[f"tokens_{draft_tokens}"] = mean
    always = [abs((g + 1) / expected_tokens(acceptance, g) - 1) for g in DRAFTS]
    return measured | {"tokens_error": max(errors), "all_accepted_error": min(always)}


def joint(table: np.ndarray, first: int) -> np.ndarray:
    """The exact probabilities (V^3,) of the three tokens from place `first` on."""
    probs = np.exp(table) / np.exp(table).sum(axis=-1, keepdims=True)
    before = np.zeros((VOCABULARY,) * 2)
    before[tuple(PROMPT)] = 1
    for _ in range(first):
        before = np.einsum("ab,abc->bc", before, probs)
    return np.einsum("ab,abc,bcd,cde->cde", before, probs, probs, probs).ravel()


def measure_distribution(seed: int) -> Measurement:
    """Pearson's chi-square against target and draft, of a text's first tokens and of those around
    the end of its first round: the last proposal, what follows it, and the next round's."""
    target, draft = tables(seed, of_context=True)
    total_variation, p_values, of_draft = [], [], []
    for draft_tokens in DRAFTS:
        given = speculating(target, draft, draft_tokens)
        last = draft_tokens - 1
        found = generate(**given, rng=jax.random.key(seed), new_tokens=last + COUNT)
        for first in {0, last}:
            exact, drafts = joint(target, first), joint(draft, first)
            tokens = found.tokens_BxN[:, first : first + COUNT]
            drawn = np.ravel_multi_index(tokens.T, (VOCABULARY,) * COUNT)
            counts = np.bincount(drawn, minlength=len(exact))
            total_variation.append(float(0.5 * np.abs(exact - drafts).sum()))
            p_values.append(p_value(counts, exact))
            of_draft.append(p_value(counts, drafts))
    return {
        "p_value": min(p_values),
        "p_value_of_draft": max(of_draft),
        "total_variation_of_draft": min(total_variation),
    }


def p_value(counts: np.ndarray, probs: np.ndarray) -> float:
    """Of Pearson's chi-square; texts that are expected fewer than 5 times count as one."""
    expected = counts.sum() * probs
    rare = expected < 5
    counts, expected = (
        np.append(values[~rare], values[rare].sum()) for values in (counts, expected)
    )
    real = expected > 0
    statistic = np.sum((counts - expected)[real] ** 2 / expected[real])
    return float(scipy.stats.chi2.sf(statistic, real.sum() - 1))


SETTINGS = {
    "vocabulary": VOCABULARY,
    "rows": ROWS,
    "drafts": DRAFTS,
    "scale": SCALE,
}

CLAIMS = [
    Claim(
        id="speculative_decoding.expected_tokens",
        statement="A round of gamma drafted tokens, each accepted with probability a, writes "
        "(1 - a^(gamma + 1)) / (1 - a) tokens on average; a is the overlap sum min(p, q).",
        source="equation 1, theorem 3.5, corollary 3.6",
        figure="the formula, error 0 [M]",
        figures={"tokens_error": 0.0},
        kind="exact",
        protocol=f"Target and draft are tables of {VOCABULARY} tokens, the same after any context, "
        f"so that acceptances are independent; the mean of the first round of {ROWS} texts for "
        f"gamma of {', '.join(map(str, DRAFTS))}, relative to the formula with the exact a.",
        measure=measure_tokens,
        rules=[
            identity("tokens_error", 0.0, tolerance=0.02),
            violated("all_accepted_error", least=0.05),
        ],
        seeds=5,
        ours=["tokens_error", "acceptance", *(f"tokens_{g}" for g in DRAFTS)],
        baseline=["standard_tokens", "all_accepted_error"],
        settings=SETTINGS,
    ),
    Claim(
        id="speculative_decoding.same_distribution",
        statement="What is written has the target's distribution, whatever the draft.",
        source="section 2.3, appendix A.1",
        figure="identity [M]",
        kind="exact",
        protocol=f"Tables of {VOCABULARY} tokens by the last two; Pearson's chi-square of {COUNT} "
        f"tokens of {ROWS} texts against the {VOCABULARY**COUNT} exact probabilities, of the first "
        "and of those from the first round's last proposal on; the least p-value over gamma of "
        f"{', '.join(map(str, DRAFTS))}; the same tokens against the draft's probabilities.",
        measure=measure_distribution,
        rules=[
            violated("p_value", least=1e-4),
            identity("p_value_of_draft", 0.0, tolerance=1e-12),
            violated("total_variation_of_draft", least=0.1),
        ],
        seeds=5,
        ours=["p_value"],
        baseline=["p_value_of_draft", "total_variation_of_draft"],
        settings=SETTINGS | {"count": COUNT},
        version=2,  # the first wrote three tokens, of which two at most were proposals
    ),
    Claim(
        id="speculative_decoding.t5",
        statement="T5-XXL translates 3.4 times faster at temperature 0, and 2.6 times at 1.",
        source="table 2",
        figure="3.4x and 2.6x with T5-small, gamma 7 [M]",
        kind="accelerator",
        protocol="WMT English to German, T5-XXL (11B) on a TPU v4, T5-small drafts.",
        not_run="11 billion parameters need an accelerator, and T5's weights and WMT downloads",
    ),
]
