"""GPT-2's claims: bytes and merges that write every text, and residual layers that stay small."""

import functools
import itertools
import json
import math

import jax
import jax.numpy as jnp
import numpy as np

from papers.ledger import Claim
from papers.rules import Measurement, identity, violated
from research.data import corpora, tokenizers
from research.networks.transformer import Transformer

WORDS = 2000  # of Shakespeare, a seed
STRINGS, LENGTH = 50, 200  # of random Unicode
WIDTH, TOKENS = 256, 64
SHALLOW, DEEP = 2, 24  # layers


def measure_bytes(seed: int) -> Measurement:
    """Texts not read back, and words whose tokens are not those of the merges done one by one."""
    rng = np.random.default_rng(seed)
    tokenizer = tokenizers.gpt2()
    strange = [random_text(rng) for _ in range(STRINGS)]
    words = rng.choice(shakespeare_words(), WORDS, replace=False).tolist()
    known = {letter for word in shakespeare_words() for letter in word}
    model = json.loads(tokenizer.json)["model"]
    vocab = model["vocab"]
    ranks = {tuple(pair): rank for rank, pair in enumerate(model["merges"])}
    wrong = {"merges_wrong": 0, "longest_first_wrong": 0}
    for word in words:
        ids, letters = tokenizer.encode(word).tolist(), letters_of(word)
        wrong["merges_wrong"] += [vocab[token] for token in merged(letters, ranks)] != ids
        wrong["longest_first_wrong"] += [vocab[t] for t in longest(letters, vocab)] != ids
    return {name: count / WORDS for name, count in wrong.items()} | {
        "not_read_back": float(
            sum(tokenizer.decode(tokenizer.encode(text)) != text for text in (*strange, *words))
        ),
        "unknown_to_letters": float(np.mean([x not in known for x in "".join(strange)])),
    }


def random_text(rng: np.random.Generator) -> str:
    """Of all code points but surrogates, which are no characters."""
    points = rng.integers(0, 0x110000 - 0x800, LENGTH)
    return "".join(chr(point + 0x800 * (point >= 0xD800)) for point in points)


@functools.cache
def shakespeare_words() -> list[str]:
    texts = corpora.documents("shakespeare", "train").read()
    return sorted({word for text in texts for word in text.split() if word.isalpha()})


def letters_of(word: str) -> list[str]:
    """A letter for each byte, as in OpenAI's encoder.py: those that print are themselves."""
    prints = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = (byte for byte in range(256) if byte not in prints)
    letters = {byte: chr(256 + place) for place, byte in enumerate(others)}
    return [letters.get(byte, chr(byte)) for byte in word.encode("utf-8")]


def merged(letters: list[str], ranks: dict[tuple[str, str], int]) -> list[str]:
    """The pair learned first is joined wherever it stands, until there is none (section 2.2)."""
    while True:
        pairs = [pair for pair in itertools.pairwise(letters) if pair in ranks]
        if not pairs:
            return letters
        first = min(pairs, key=ranks.__getitem__)
        place = 0
        while place < len(letters) - 1:
            if (letters[place], letters[place + 1]) == first:
                letters = [*letters[:place], "".join(first), *letters[place + 2 :]]
            place += 1


def longest(letters: list[str], vocab: dict[str, int]) -> list[str]:
    """What is not done: from the left, always the longest token."""
    tokens, rest = [], "".join(letters)
    while rest:
        size = next(n for n in range(len(rest), 0, -1) if rest[:n] in vocab)
        tokens.append(rest[:size])
        rest = rest[size:]
    return tokens


def measure_residual(seed: int) -> Measurement:
    """The variance that fresh layers add to the stream, of many layers over few."""
    added = {
        scaled: [variance_added(layers, seed, scaled=scaled) for layers in (SHALLOW, DEEP)]
        for scaled in (True, False)
    }
    return {
        "growth": added[True][1] / added[True][0],
        "growth_unscaled": added[False][1] / added[False][0],
    }


def variance_added(layers: int, seed: int, *, scaled: bool) -> float:
    """Of the stream after the last layer, less that of the embeddings."""
    network = Transformer(vocabulary=512, length=TOKENS, width=WIDTH, layers=layers, heads=4)
    rng = jax.random.key(seed)
    tokens = jax.random.randint(rng, (4, TOKENS), 0, 512)
    params = network.init(rng, tokens)["params"]
    if not scaled:
        params = jax.tree_util.tree_map_with_path(
            lambda path, x: x * math.sqrt(2 * layers) if to_stream(path) else x, params
        )

    def streams(network: Transformer, tokens: jax.Array) -> tuple[jax.Array, jax.Array]:
        embedded = network.embed(tokens, jnp.arange(TOKENS)[None])
        carry = network.start(embedded)
        for block in network.blocks:
            carry, _ = block(carry, None, None, None, None, False)
        return embedded, carry[0] + carry[1]

    before, after = map(jnp.var, network.apply({"params": params}, tokens, method=streams))
    return float(after - before)


def to_stream(path: tuple) -> bool:
    """Whether these weights end a residual layer."""
    return any(f"'{name}'" in jax.tree_util.keystr(path) for name in ("out", "down"))


CLAIMS = [
    Claim(
        id="gpt2.byte_pairs",
        statement="Merges of bytes give every Unicode string a probability; they are done in the "
        "order in which they were learned.",
        source="section 2.2, encoder.py",
        figure="identity [M]",
        kind="exact",
        protocol=f"The published vocabulary and merges: {STRINGS} strings of {LENGTH} random code "
        f"points and {WORDS} words of Shakespeare, read back; the words' tokens against merges by "
        "the paper's rule in plain Python, and against the longest tokens from the left; letters "
        "that a vocabulary of Shakespeare's letters lacks.",
        measure=measure_bytes,
        rules=[
            identity("not_read_back", 0, tolerance=0),
            identity("merges_wrong", 0, tolerance=0),
            violated("longest_first_wrong", least=0.01),
            violated("unknown_to_letters", least=0.5),
        ],
        seeds=5,
        ours=["not_read_back", "merges_wrong"],
        baseline=["longest_first_wrong", "unknown_to_letters"],
        settings={"words": WORDS, "strings": (STRINGS, LENGTH)},
    ),
    Claim(
        id="gpt2.residual_scale",
        statement="Weights of residual layers scaled by 1/sqrt(N) at the start account for the "
        "accumulation on the residual path with depth.",
        source="section 2.3",
        figure="none given: the variance added does not grow with N [M]",
        figures={"growth": 1.0},
        kind="direction",
        protocol=f"Fresh transformers of width {WIDTH}; the variance that {DEEP} layers add to "
        f"the stream over that of {SHALLOW}: {DEEP // SHALLOW} if each layer adds as much.",
        measure=measure_residual,
        rules=[identity("growth", 1, tolerance=0.25), violated("growth_unscaled", least=8)],
        ours=["growth"],
        baseline=["growth_unscaled"],
        settings={"width": WIDTH, "tokens": TOKENS, "layers": (SHALLOW, DEEP)},
    ),
    Claim(
        id="gpt2.webtext",
        statement="The loss on web pages falls from the 124M to the 1558M model.",
        source="figure 4; nanoGPT's page on OpenWebText",
        figure="OpenWebText 3.12, 2.84, 2.67, 2.54 [V]",
        kind="accelerator",
        protocol="OpenWebText, models of 124M, 350M, 774M and 1558M parameters; "
        "`configs/gpt.py:124m` is the first.",
        not_run="the text and the weights download, and training takes days of 8 accelerators",
    ),
    Claim(
        id="gpt2.zero_shot",
        statement="Without training on them it is the best of its time on 7 of 8 language sets.",
        source="table 3",
        figure="LAMBADA perplexity 8.6 and accuracy 63.2 of the 1542M model [M]",
        kind="accelerator",
        protocol="LAMBADA, CBT, WikiText, PTB, enwik8, text8, 1BW. Any GPT-2 in safetensors is "
        "read by `research/pretrained/weights.py`, and `research/scores/choices.py` ranks answers.",
        not_run="weights and sets download",
    ),
]
