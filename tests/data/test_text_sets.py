"""Text sets: split by document, packed with nothing lost or mixed, kept, found in a run again."""

import dataclasses
import shutil
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from research import registry, run
from research.data import corpora, datasets, packing, pipelines
from research.data.tokenizers import Tokenizer
from research.errors import InputError
from research.training.method import Aux, Method, Objective

WORDS = ["the", "cat", "sat", "on", "a", "mat", "and", "saw", "that", "rat", "at", "sea"]
pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def folder(tmp_path):
    """Thirty documents of all lengths, one of them empty, in two folders."""
    rng = np.random.default_rng(0)
    for i in range(30):
        path = tmp_path / "texts" / f"part{i % 2}" / f"{i:02}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{i}: " * (i > 0) + " ".join(rng.choice(WORDS, size=2 * i)))
    return tmp_path / "texts"


def char(folder, split="train", **options):
    return datasets.load(str(folder), split, **({"tokenizer": "char", "length": 16} | options))


def contents(folder, split):
    return list(corpora.documents(str(folder), split).read())


def test_splits_are_whole_documents_and_share_none(folder):
    train, test = (contents(folder, split) for split in ("train", "test"))
    assert len(test) > 0 and not set(train) & set(test)
    assert sorted(train + test) == sorted(path.read_text() for path in folder.rglob("*.txt"))


def test_a_single_file_is_cut_and_its_last_tenth_is_the_test(tmp_path):
    text = "".join(chr(ord("a") + i % 26) for i in range(1000))
    (tmp_path / "one.txt").write_text(text)
    assert contents(tmp_path / "one.txt", "train") == [text[:900]]
    assert contents(tmp_path / "one.txt", "test") == [text[900:]]


@pytest.mark.parametrize(
    "tokenizer", [{"tokenizer": "char"}, {"tokenizer": "bpe", "vocabulary_size": 270}]
)
def test_windows_are_the_stream_at_every_place(folder, tokenizer):
    train = char(folder, **tokenizer)
    parts = [train.tokenizer.document(text) for text in contents(folder, "train")]
    stream = np.concatenate(parts)
    assert len(train) == len(stream) - 16
    rows = train.arrays()
    for i in (0, 1, 57, len(train) - 1):
        np.testing.assert_array_equal(rows["tokens"][i], stream[i : i + 17])
    assert {name: row.dtype for name, row in rows.items()} == dict.fromkeys(rows, np.int32)
    assert np.all(rows["segments"] == 1) and np.all(rows["positions"] == np.arange(17))
    size = sum(len(text.encode()) for text in contents(folder, "train"))
    assert train.bytes_per_token == pytest.approx(size / len(stream))


def test_windows_of_the_test_split_predict_each_token_once(folder):
    test = char(folder, "test", length=7)
    stream = np.concatenate([test.tokenizer.document(text) for text in contents(folder, "test")])
    predicted = test.arrays()["tokens"][:, 1:].ravel()
    np.testing.assert_array_equal(predicted, stream[1 : 1 + len(predicted)])
    assert 0 <= len(stream) - 1 - len(predicted) < 7


@pytest.mark.parametrize("length", [5, 16, 40, 100])
def test_packed_documents_are_whole_in_order_and_apart(folder, length):
    train = char(folder, packing="documents", length=length)
    rows = train.arrays()
    segments = []
    for i in range(len(train)):
        tokens, positions, numbers = (rows[f][i] for f in ("tokens", "positions", "segments"))
        used = numbers > 0
        assert np.all(tokens[~used] == train.tokenizer.pad) and np.all(positions[~used] == 0)
        assert np.all(used[:-1] >= used[1:])  # padding is at the end
        assert np.all(np.diff(numbers[used]) >= 0) and set(numbers[used]) == set(
            range(1, numbers.max() + 1)
        )
        for number in range(1, numbers.max() + 1):
            np.testing.assert_array_equal(
                positions[numbers == number], np.arange(np.sum(numbers == number))
            )
            segments.append(tuple(tokens[numbers == number].tolist()))
    end = [train.tokenizer.end]
    documents = [[*end, *train.tokenizer.document(text)] for text in contents(folder, "train")]
    expected = [
        tuple(ids[start : start + length + 1])
        for ids in documents
        for start in range(0, len(ids), length + 1)
    ]
    assert sorted(segments) == sorted(expected)
    assert sum(map(len, segments)) == sum(map(len, documents))


def test_pieces_go_to_the_first_row_with_room():
    rows, offsets = packing.first_fit(np.array([6, 5, 3, 10, 4, 1, 1]), 10)
    assert rows.tolist() == [0, 1, 0, 2, 1, 0, 1]
    assert offsets.tolist() == [0, 0, 6, 0, 5, 9, 9]


def test_few_rows_are_open_at_a_time(monkeypatch):
    monkeypatch.setattr(packing, "OPEN_ROWS", 2)
    rows, _ = packing.first_fit(np.array([6, 6, 6, 6, 4, 4, 4]), 10)
    assert rows.tolist() == [0, 1, 2, 3, 2, 3, 4]


def test_rows_need_few_more_than_their_tokens(folder):
    train = char(folder, packing="documents", length=200)
    assert np.mean(train.arrays()["segments"] > 0) > 0.85


def test_batches_of_windows_come_from_the_pipeline(folder):
    train = char(folder)
    batch = next(pipelines.train_iterator(train, batch_size=4, seed=0))
    assert {name: x.shape for name, x in batch.items()} == dict.fromkeys(
        ("tokens", "positions", "segments"), (4, 17)
    )
    assert train.zeros(4)["tokens"].shape == (4, 17)


def test_texts_are_encoded_once_and_anew_when_they_change(folder, monkeypatch):
    before = char(folder), char(folder, packing="documents")
    encoded = []
    document = Tokenizer.document
    monkeypatch.setattr(Tokenizer, "document", lambda *a: encoded.append(a) or document(*a))
    again = char(folder), char(folder, packing="documents")
    assert encoded == []
    for one, other in zip(before, again, strict=True):
        assert one.fingerprint == other.fingerprint
        np.testing.assert_array_equal(one.arrays()["tokens"], other.arrays()["tokens"])
    (folder / "part1" / "29.txt").write_text("quite another text")
    changed = char(folder)
    assert encoded and changed.fingerprint != before[0].fingerprint


def test_what_makes_other_examples_makes_another_fingerprint(folder):
    sets = [
        *(char(folder), char(folder, "test"), char(folder, length=17)),
        *(char(folder, packing="documents"), char(folder, tokenizer="word", length=16)),
    ]
    assert len({text_set.fingerprint for text_set in sets}) == len(sets)


def test_a_test_split_may_have_what_training_lacks(tmp_path):
    """And then its tokens tell no bytes, wherever it is."""
    (tmp_path / "one.txt").write_text("abc " * 90 + "xyz " * 10)
    test = char(tmp_path / "one.txt", "test", length=8)
    assert np.sum(test.arrays()["tokens"][0] == test.tokenizer.unknown) > 3
    assert test.bytes_per_token is None
    (tmp_path / "late.txt").write_text("abc " * 4500 + "abc " * 400 + "xyz " * 100)
    late = char(tmp_path / "late.txt", "test", length=8)
    assert late.bytes_per_token is None
    assert char(tmp_path / "late.txt", "train", length=8).bytes_per_token is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tokenizer": "chars"}, "data.tokenizer='chars' is unknown; nearest: char"),
        ({"packing": "document"}, "data.packing='document' is unknown; nearest: documents"),
        ({"length": 0}, "data.length is 0; 1 is the least"),
        ({"length": 10**6}, r"data.length=1000000 is too large: the train split .* has \d+ tokens"),
        ({"vocabulary_size": 99}, "data.vocabulary_size: a char tokenizer has a size of its own"),
        ({"tokenizer": "gpt2", "vocabulary_size": 99}, "a gpt2 tokenizer has a size of its own"),
        ({"tokenizer": "none.json"}, "cannot read the tokenizer none.json: No such file"),
        ({"lenght": 3}, "data.lenght is unknown; nearest: length"),
    ],
)
def test_a_wrong_option_is_one_line(folder, options, message):
    with pytest.raises(InputError, match=message) as error:
        char(folder, **options)
    assert "\n" not in str(error.value)


def test_the_longest_row_is_the_whole_split(folder):
    count = len(char(folder).arrays()["tokens"]) + 16
    assert char(folder, length=count - 1).arrays()["tokens"].shape == (1, count)
    for kind in ("windows", "documents"):
        with pytest.raises(InputError, match=f"so it is at most {count - 1}"):
            char(folder, length=count, packing=kind)


def test_a_missing_option_and_one_that_images_lack():
    with pytest.raises(InputError, match="data lacks tokenizer"):
        datasets.load("shakespeare", "train", length=3)
    for name in ("digits", "ring", "episodes"):
        with pytest.raises(InputError, match=r"data\.length is unknown.*data\.tokenizer"):
            datasets.load(name, "train", length=3)


def test_the_tokenizer_of_files_is_used(folder, tmp_path):
    first = char(folder)
    first.save(tmp_path)
    (folder / "part1" / "29.txt").write_text("§")
    again = char(folder, files=tmp_path)
    assert again.tokenizer.fingerprint == first.tokenizer.fingerprint
    assert char(folder).tokenizer.fingerprint != first.tokenizer.fingerprint
    by_path = char(folder, tokenizer=str(tmp_path / "tokenizer.json"))
    assert by_path.tokenizer.fingerprint == first.tokenizer.fingerprint


@dataclasses.dataclass(frozen=True)
class Frequencies(Method):
    """The frequency of each token: the least that can be learned of texts."""

    vocabulary: int
    tokenizer: Tokenizer
    optimizer: Any

    def init_params(self, rng, batch):
        return {"model": jnp.zeros(self.vocabulary)}

    def objectives(self):
        return [Objective("model", self.loss, self.optimizer)]

    def loss(self, params, state, batch, rng):
        return -jnp.mean(jax.nn.log_softmax(params)[batch["tokens"]]), Aux()

    def evaluate(self, state, batch, rng):
        scores = jax.nn.log_softmax(state.params["model"])[batch["tokens"]]
        return {"nll": -jnp.mean(scores, axis=-1)}

    def sample(self, state, rng, *, count):
        return {}


def test_a_run_keeps_its_tokenizer_and_goes_on_with_it(folder, tmp_path, cache, monkeypatch):
    monkeypatch.setitem(registry.METHODS, "frequencies", Frequencies)
    config = ConfigDict(
        dict(
            seed=0,
            steps=4,
            data=dict(name=str(folder), batch_size=4, tokenizer="char", length=16),
            network=dict(name="mlp", hidden=(4,)),
            method=dict(name="frequencies"),
            optimizer=dict(name="adam", learning_rate=0.1),
            mesh=dict(data=-1, fsdp=1, tensor=1),
            checkpoint=dict(every_steps=2, keep=2),
            log=dict(every_steps=1),
            sample=dict(every_steps=0, count=0),
            evaluate=dict(count=0, batch_size=32),
        )
    )
    run.run(config, tmp_path / "run")
    kept = (tmp_path / "run" / "tokenizer.json").read_text()
    # Neither the cache nor the corpus is as it was, and a new tokenizer would have one more token.
    shutil.rmtree(cache)
    (folder / "part1" / "29.txt").write_text("§ " * 9)
    again, state = run.restore(tmp_path / "run")
    assert again.train_data.tokenizer.json == again.method.tokenizer.json == kept
    assert again.method.vocabulary == len(state.params["model"])
    assert run.metrics_on_test(again, state)["nll"].mean < np.log(again.method.vocabulary)
    assert run.run(config, tmp_path / "run").step == 4
    assert (tmp_path / "run" / "tokenizer.json").read_text() == kept
