"""Language models: what is counted, what an example weighs, and texts written on."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from research import run
from research.data import corpora, encoding, text_sets, tokenizers
from research.data.choice_tasks import Question
from research.errors import InputError
from research.methods.language_model import LanguageModel
from research.networks.transformer import Transformer
from research.sampling.decoding import prompts
from research.scores.choices import score_choices

TEXT = "to be or not to be, that is the question: whether 'tis nobler in the mind to suffer"
TOKENIZER = tokenizers.train("char", [TEXT])


def method(*, packed=False, length=16, tokenizer=TOKENIZER, **network):
    sizes = dict(vocabulary=tokenizer.size, length=length, width=16, layers=1, heads=2)
    return LanguageModel(
        network=Transformer(**(sizes | network)),
        optimizer=optax.adam(1e-2),
        tokenizer=tokenizer,
        length=length,
        packed=packed,
        bytes_per_token=2.0,
    )


@pytest.fixture(scope="module")
def learned():
    """A model that knows the text by heart, and what comes after its end: the text again."""
    model = method(positions="rotary", width=32, layers=2)
    stream = np.tile(TOKENIZER.document(TEXT), 2)
    rows = np.lib.stride_tricks.sliding_window_view(stream, 17)
    batch = {"tokens": jnp.asarray(rows)}
    state = model.init(jax.random.key(0), batch)
    step = jax.jit(model.step)
    for i in range(400):
        state, metrics = step(state, batch, jax.random.key(i))
    assert metrics["model/loss"] < 0.15
    return model, state


@pytest.mark.parametrize("packing", ["windows", "documents"])
def test_a_trivial_model_predicts_every_token_of_the_training_once(tmp_path, packing):
    """Windows at every place are read end to end; nothing is predicted across documents."""
    texts = ["ab" * 20, "ba" * 30, "abc" * 12, "cc" * 9, "bbb" * 7]
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.txt").write_text(text)
    given = {"tokenizer": "char", "length": 8, "packing": packing}
    train, test = (text_sets.load(str(tmp_path), split, **given) for split in ("train", "test"))
    before, after = train.transitions()
    stream = encoding.stream(corpora.documents(str(tmp_path), "train"), train.tokenizer).tokens
    if packing == "windows":
        kept = (len(stream) - 1) // 8 * 8
        np.testing.assert_array_equal(before, stream[:kept])
        np.testing.assert_array_equal(after, stream[1 : kept + 1])
    else:
        pieces = [len(text) + 2 for text in corpora.documents(str(tmp_path), "train").read()]
        assert len(after) == sum(size - -(-size // 9) for size in pieces)
        assert (before == train.tokenizer.end).sum() == len(pieces)
    model = method(packed=packing == "documents")
    nats = model.trivial(train, test)["loss"]
    assert 0 < nats["bigram"] < nats["unigram"] < np.log(train.tokenizer.size)


def test_what_is_known_by_heart_is_ranked_first(learned):
    model, state = learned
    asked = [
        Question("to be or", (" for all", " whether", " not to"), 2),
        Question("that is", (" the ques", " to suffe"), 0),
    ]
    scores = {s.metric.split("[")[0]: s for s in score_choices(model, state, asked, "text")}
    assert [s.value for s in scores.values()] == [1.0] * 3
    assert scores["accuracy_by_gain"].baselines["chance"] == pytest.approx((1 / 3 + 1 / 2) / 2)


def test_a_text_is_the_same_while_its_cache_grows(monkeypatch):
    model = method(length=64, positions="rotary")
    state = model.init(jax.random.key(0), {"tokens": jnp.zeros((1, 65), jnp.int32)})
    given = dict(count=2, prompt="to be", new_tokens=50, strategy="temperature")
    expected = model.sample(state, jax.random.key(1), **given)["texts"]
    monkeypatch.setattr(prompts, "UNGROWN", 16)
    assert model.sample(state, jax.random.key(1), **given)["texts"].tolist() == expected.tolist()


def test_only_predictions_within_a_document_count():
    """Against logits by hand: padding, and the first token of a segment, weigh nothing."""
    model = method(packed=True)
    tokens = jax.random.randint(jax.random.key(1), (2, 17), 0, TOKENIZER.size)
    segments = jnp.array([[1] * 6 + [2] * 8 + [0] * 3, [1] * 17])
    positions = jnp.array([[*range(6), *range(8), 0, 0, 0], [*range(17)]])
    batch = {"tokens": tokens, "segments": segments, "positions": positions}
    state = model.init(jax.random.key(0), batch)
    params = state.params["model"]
    nats = -jax.nn.log_softmax(model.logits(params, batch))
    picked = np.take_along_axis(np.asarray(nats), np.asarray(tokens)[:, 1:, None], axis=2)[..., 0]
    counted = [*range(5), *range(6, 13)]
    found = jax.jit(model.evaluate)(state, batch, jax.random.key(0))
    np.testing.assert_array_equal(found["weight"], [len(counted), 16])
    truth = np.array([picked[0, counted].mean(), picked[1].mean()])
    np.testing.assert_allclose(found["loss"], truth, rtol=1e-5)
    np.testing.assert_allclose(found["bits_per_byte"], truth / np.log(2) / 2.0, rtol=1e-5)
    loss, _ = model.loss(params, state, batch, jax.random.key(0))
    np.testing.assert_allclose(loss, np.average(truth, weights=found["weight"]), rtol=1e-5)
    model.bytes_per_token = None
    assert set(model.evaluate(state, batch, jax.random.key(0))) == {"loss", "accuracy", "weight"}


def test_an_estimate_weighs_examples():
    values, weight = np.array([1.0, 3.0, 5.0]), np.array([2.0, 1.0, 1.0])
    found = run.estimate(values, weight)
    assert found.mean == pytest.approx(2.5) and found.examples == 3
    assert run.estimate(values, 7 * weight) == pytest.approx(found)
    assert run.estimate(values) == pytest.approx((3.0, 2 / np.sqrt(3), 3))


def test_a_text_goes_on_beyond_the_context(learned):
    """Greedily the model says the text by heart from its start, in pieces as at once."""
    model, state = learned
    options = dict(prompt="to be or not", new_tokens=60, strategy="greedy")
    (whole,) = model.sample(state, jax.random.key(0), count=1, **options)["texts"]
    assert whole == TEXT[: len("to be or not") + 60]
    pieces = list(model.stream(state, jax.random.key(0), **options))
    assert len(pieces) > 5 and "".join(pieces) == whole


def test_a_text_ends_at_its_end(learned):
    model, state = learned
    found = model.sample(
        state, jax.random.key(0), count=2, prompt="e mind to", new_tokens=40, strategy="greedy"
    )["texts"]
    assert list(found) == ["e mind to suffer"] * 2


def test_an_empty_prompt_starts_a_document(learned):
    model, state = learned
    texts = model.sample(state, jax.random.key(0), count=3, new_tokens=8)["texts"]
    assert len(texts) == 3 and all(len(text) <= 8 for text in texts)
    beams = dict(strategy="beam", beams=2, prompt="whether ")
    (text,) = model.sample(state, jax.random.key(0), count=1, new_tokens=5, **beams)["texts"]
    assert text == "whether 'tis "


def test_a_prompt_begins_a_document_where_rows_do():
    """Against logits by hand, after the end token."""
    model = method(packed=True)
    first = TOKENIZER.encode("to be").tolist()
    row = jnp.array([[TOKENIZER.end, *first]])
    batch = {
        "tokens": row,
        "positions": jnp.arange(row.size)[None],
        "segments": jnp.ones_like(row),
    }
    state = model.init(jax.random.key(0), batch)
    nats = -jax.nn.log_softmax(model.logits(state.params["model"], batch)[0])
    picked = np.take_along_axis(np.asarray(nats), np.array(first)[:, None], axis=1)[:, 0]
    found = model.log_likelihoods(state, [("to", " be"), ("", "to be")])
    np.testing.assert_allclose(found, [-picked[2:].sum(), -picked.sum()], rtol=1e-5)
    beams = dict(strategy="beam", beams=1, new_tokens=1, prompt="to be")
    (text,) = model.sample(state, jax.random.key(0), count=1, **beams)["texts"]
    longer = {name: jnp.pad(x, ((0, 0), (0, 1))) for name, x in batch.items()}
    logits = model.logits(state.params["model"], longer)
    assert text == "to be" + TOKENIZER.decode([int(jnp.argmax(logits[0, -1]))])


def test_what_can_not_be_written_is_told_before_the_prompt_is_shown(learned):
    model, state = learned
    shown = model.stream(state, jax.random.key(0), prompt="to be", strategy="nope")
    with pytest.raises(InputError, match="no strategy 'nope'"):
        next(shown)


def test_a_regular_expression_holds(learned):
    model, state = learned
    options = dict(prompt="to be ", regex="(or|no) [a-z]{3}", new_tokens=12)
    texts = model.sample(state, jax.random.key(0), count=4, **options)["texts"]
    for text in texts:
        assert len(text) == len("to be or not") and text[6:9] in ("or ", "no ")


def test_a_regular_expression_is_matched_once_where_the_text_fills_the_context(learned):
    """The context is 16 tokens: the pattern ends where it does."""
    model, state = learned
    options = dict(prompt="to be or not ", regex="[a-z]{3}", new_tokens=12)
    texts = model.sample(state, jax.random.key(0), count=4, **options)["texts"]
    for text in texts:
        assert len(text) == len("to be or not ") + 3 and text[-3:].isalpha()


def untrained(kind):
    model = method(tokenizer=tokenizers.train(kind, [TEXT]), positions="rotary")
    return model, model.init(jax.random.key(0), {"tokens": jnp.zeros((1, 17), jnp.int32)})


@pytest.mark.parametrize(
    ("kind", "prompt", "regex"),
    [
        ("word", "to be", "( or not| be)+"),
        ("word", "to be ", "or (not|be) to"),
        ("word", "that  is , ", "or (not|be)"),
        ("word", "", "or (not|be) to"),
        ("char", "to be", " or( not)?"),
        ("char", "to be ", "or( not)?"),
        ("char", "", "or( not)?"),
    ],
)
def test_what_is_matched_is_what_is_printed_after_the_prompt(kind, prompt, regex):
    """A tokenizer of words writes the blank before a word that follows another."""
    model, state = untrained(kind)
    options = dict(prompt=prompt, regex=regex, new_tokens=8)
    texts = model.sample(state, jax.random.key(0), count=3, **options)["texts"]
    for text in texts:
        assert re.fullmatch(re.escape(prompt) + regex, text)
    assert "".join(model.stream(state, jax.random.key(0), **options)) == texts[0]


@pytest.mark.parametrize(
    ("prompt", "joined"), [("to be", "to be "), ("to be ", "to be "), ("be, that", "be, that ")]
)
def test_words_are_apart_from_the_prompt(prompt, joined):
    model, state = untrained("word")
    options = dict(prompt=prompt, new_tokens=20, strategy="temperature")
    (text,) = model.sample(state, jax.random.key(0), count=1, **options)["texts"]
    written = text.removeprefix(joined)
    assert text.startswith(joined) and written and written == " ".join(written.split())
    assert set(written.split()) <= {*model.tokenizer.decode(range(model.tokenizer.size)).split()}
    assert "".join(model.stream(state, jax.random.key(0), **options)) == text


def test_a_negative_prompt_may_be_longer_than_the_prompt_and_the_text_than_the_context(learned):
    """What is written follows both."""
    model, state = learned
    options = dict(prompt="to", negative_prompt="that is the", guidance=2.0)
    (text,) = model.sample(state, jax.random.key(0), count=1, new_tokens=40, **options)["texts"]
    assert text.startswith("to") and len(text) > 2
    with pytest.raises(InputError, match="the negative prompt has 18 tokens"):
        options["negative_prompt"] = "to be or not to be"
        model.sample(state, jax.random.key(0), count=1, **options)


def test_guidance_away_from_the_prompt_itself_changes_nothing(learned):
    """Also where the text has outgrown the context, and both rows are cut."""
    model, state = learned
    options = dict(count=2, prompt="to be ", new_tokens=40, strategy="temperature")
    plain = model.sample(state, jax.random.key(0), **options)["texts"]
    options |= dict(negative_prompt="to be ", guidance=3.0)
    guided = model.sample(state, jax.random.key(0), **options)["texts"]
    assert list(guided) == list(plain)
    assert max(map(len, plain)) > 16


def test_bad_prompts_are_one_line(learned):
    model, state = learned
    for prompt, message in (
        ("to be or not to be", "the prompt has 18 tokens, and the model's context is 16"),
        ("Ω", "no token for 'Ω', at character 0"),
    ):
        with pytest.raises(InputError, match=message):
            model.sample(state, jax.random.key(0), count=1, prompt=prompt)
    for option in ("regex", "negative_prompt"):
        with pytest.raises(InputError, match=f"beam takes no {option}; greedy, temperature, "):
            model.sample(state, jax.random.key(0), count=1, strategy="beam", **{option: "to"})
    with pytest.raises(InputError, match="greedy takes no temperature; temperature, top_k, nucl"):
        model.sample(state, jax.random.key(0), count=1, strategy="greedy", temperature=0.5)
    with pytest.raises(InputError, match="no strategy 'bean'"):
        model.sample(state, jax.random.key(0), count=1, strategy="bean", regex="to")
    with pytest.raises(InputError, match="new_tokens is 0; 1 is the least"):
        model.sample(state, jax.random.key(0), count=1, prompt="to", new_tokens=0)
