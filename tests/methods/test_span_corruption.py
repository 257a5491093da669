"""Span corruption: the paper's example, what is lost and found, and the rates of its spans."""

import itertools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from papers.t5.claims import FIGURE_2, figure_2
from research.data import packing, tokenizers
from research.data.examples import InMemory
from research.data.text_sets import TextSet
from research.errors import InputError
from research.methods import span_corruption
from research.methods.span_corruption import Plan, SpanCorruption, composition, noise_mask, plan

MARKS, END, PAD = (100, 101, 102, 103, 104, 105, 106, 107), 1, 0


def corrupted(tokens, mask, sizes):
    marks = dict(sentinels=MARKS, end=END, pad=PAD)
    return span_corruption.corrupted(jnp.asarray(tokens), jnp.asarray(mask), sizes, **marks)


def test_figure_2():
    assert figure_2() == FIGURE_2


def test_sizes_are_the_papers():
    """Section 3.3.4: of 500 tokens at 15% in 25 spans 75 are taken out, 3 a span on average."""
    assert plan(500) == Plan(500, 75, 25)
    assert (plan(500).inputs, plan(500).targets) == (500 - 75 + 25 + 1, 75 + 25 + 2)
    assert plan(2) == Plan(2, 1, 1)
    with pytest.raises(InputError, match="1 tokens"):
        plan(1)


def test_inputs_and_targets_make_the_text():
    sizes = plan(40, density=0.3, mean_span=2.0)

    def pair(rng):
        tokens = jax.random.randint(rng, (40,), 2, 100)
        mask = noise_mask(rng, sizes)
        return tokens, mask, *corrupted(tokens, mask, sizes)

    rngs = jax.random.split(jax.random.key(0), 50)
    for tokens, mask, inputs, targets in zip(*map(np.asarray, jax.vmap(pair)(rngs)), strict=True):
        assert mask.sum() == 12 and inputs[-1] == targets[-1] == END
        assert not np.any(inputs == PAD) and not np.any(targets == PAD)
        assert [t for t in inputs if t >= 100] == list(MARKS[:6])
        assert [t for t in targets if t >= 100] == list(MARKS[:7])
        np.testing.assert_array_equal(inputs[inputs < 100][:-1], tokens[~mask])
        np.testing.assert_array_equal(targets[targets < 100][:-1], tokens[mask])
        rows = inputs[:-1].tolist(), targets[:-1].tolist()
        whole = span_corruption.restored(*rows, sentinels=MARKS)
        np.testing.assert_array_equal(whole, tokens)


def test_spans_are_any_as_likely_and_of_the_mean():
    """Compositions by chi-square; every mask has the plan's number of tokens and of spans."""
    drawn = jax.vmap(lambda rng: composition(rng, 6, 3))(jax.random.split(jax.random.key(1), 4000))
    every = [c for c in itertools.product(range(1, 5), repeat=3) if sum(c) == 6]
    counts = [np.all(np.asarray(drawn) == c, axis=1).sum() for c in every]
    assert sum(counts) == 4000
    statistic = np.sum((np.array(counts) - 400) ** 2 / 400)
    assert statistic < 33.7  # chi-square of 9 degrees beyond 1e-4
    sizes = plan(128)
    masks = jax.vmap(lambda rng: noise_mask(rng, sizes))(jax.random.split(jax.random.key(2), 500))
    masks = np.asarray(masks)
    assert np.all(masks.sum(axis=1) == 19) and not masks[:, 0].any() and masks[:, -1].all()
    starts = masks[:, 1:] & ~masks[:, :-1]
    assert np.all(starts.sum(axis=1) == 6)
    # But for the ends each token is taken out as often as another.
    rates = masks[:, 10:-10].mean(axis=0)
    assert abs(rates.mean() - 19 / 128) < 0.02 and rates.std() < 0.025


TEXT = "to be or not to be, that is the question: whether 'tis nobler in the mind to suffer. " * 20
TOKENIZER = tokenizers.train("unigram", [TEXT], 370)


def method(**options):
    network = SimpleNamespace(input_length=64, target_length=32)
    given = dict(tokenizer=TOKENIZER, length=39, packed=False) | options
    return SpanCorruption(network=network, optimizer=optax.adam(1e-3), **given)


def test_spans_are_drawn_by_step_and_row():
    ours = method()
    end = TOKENIZER.end
    row = np.resize(TOKENIZER.encode(TEXT), 40)
    row[20] = end
    batch = {"tokens": np.stack([row, row])}
    first, same, other = (ours.pairs(batch, jax.random.key(i)) for i in (0, 0, 1))
    for name, rows in first.items():
        np.testing.assert_array_equal(rows, same[name])
        assert not np.array_equal(rows, other[name]) and not np.array_equal(rows[0], rows[1])
        np.testing.assert_array_equal(ours.lengths(rows), rows.shape[1])  # whatever ends within
    inputs, targets = (ours.rows(first[name]) for name in ("inputs", "targets"))
    assert ours.text(targets[0], inputs[0]) == TOKENIZER.decode(row)


def test_trivial_models_know_each_span_of_windows_end_to_end():
    """Of windows at every place those are read that follow one another."""
    ours, stream = method(), np.resize(TOKENIZER.encode(TEXT), 39 * 7 + 1)
    data = TextSet(
        name="text",
        split="train",
        fingerprint="",
        source=InMemory(packing.windows(stream, size=40, stride=1)),
        tokenizer=TOKENIZER,
        length=39,
        bytes_per_token=None,
        packed=False,
        overlap=True,
    )
    before, after = ours.transitions(data)
    assert len(after) == 7 * ours.plan.targets
    np.testing.assert_array_equal(before[:: ours.plan.targets], TOKENIZER.pad)
    for sentinel in TOKENIZER.sentinels[: ours.plan.spans + 1]:
        assert (after == sentinel).sum() == 7
    nats = ours.trivial(data, data)["loss"]
    assert 0 < nats["bigram"] < nats["unigram"] < np.log(TOKENIZER.size)


def test_gaps_of_a_prompt():
    ours = method()
    inputs = ours.read("to be ___ to be")
    assert inputs[-1] == TOKENIZER.end and inputs.count(TOKENIZER.sentinels[0]) == 1
    written = [
        TOKENIZER.sentinels[0],
        *TOKENIZER.encode(" or not").tolist(),
        TOKENIZER.sentinels[1],
    ]
    written.append(7)
    assert ours.text(written, inputs) == "to be or not to be"
    assert ours.text([7], ours.read("to be")) == "to be"


def test_bad_input():
    for options, message in (
        (dict(packed=True), "data.packing='windows'"),
        (dict(length=99), "network.input_length must be 91 or more"),
        (dict(tokenizer=tokenizers.train("char", [TEXT])), "the tokenizer has 0; .*unigram"),
    ):
        with pytest.raises(InputError, match=message):
            method(**options)
    with pytest.raises(InputError, match="the network takes 63"):
        method().read(TEXT)
    most = len(TOKENIZER.sentinels) - 1
    with pytest.raises(InputError, match=f"the prompt has {most + 1} gaps; {most} are the most"):
        method().read("___" * (most + 1))
    with pytest.raises(InputError, match="takes no regex"):
        method().written(regex="[a-z ]+")
