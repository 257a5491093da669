"""Constraints: a regular expression, or a grammar of tokens, as an automaton over tokens.

A table of states by tokens would be large (100 states of GPT-2's vocabulary: 20 MB) and mostly the
same: tokens that lead every state to the same place are one class, and the table is of states by
classes, with a class for each token. A date's 50,257 tokens have about 30 classes: 200 KB in all.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import greenery
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int32

from research.errors import InputError

FAR = 2**30  # tokens to the end from where there is none
ANCHOR = re.compile(r"[$^]")
ESCAPED = re.compile(r"\\([^a-zA-Z0-9\x80-\U0010ffff])")  # a sign that is only itself
QUOTED = re.compile(r"\\.|\[(?:\\.|[^]\\])*\]", re.DOTALL)  # escaped, or in a class of characters
CHUNK = 4096  # tokens walked at once: bounds the memory that is needed to find the classes


class Automaton(NamedTuple):
    """A deterministic automaton over tokens; a pytree: automata of like size share a program.

    The last state is dead, and every state that can't come to an end has been made it. `far_S` is
    the fewest tokens to a state where the text may end, 0 in such a state.
    """

    next_SxK: Int32[np.ndarray, "S K"]
    class_V: Int32[np.ndarray, " V"]
    far_S: Int32[np.ndarray, " S"]
    start: int
    end: int


def allowed(automaton: Automaton, states_B: Array, left: Array | int) -> Bool[Array, "B V"]:
    """The tokens from which a text can end with at most `left` more."""
    next_BxK = jnp.asarray(automaton.next_SxK)[states_B]
    reached_BxK = jnp.asarray(automaton.far_S)[next_BxK] <= left
    return jnp.take(reached_BxK, jnp.asarray(automaton.class_V), axis=1)


def following(automaton: Automaton, states_B: Array, tokens_B: Array) -> Int32[Array, " B"]:
    """The states after one more token."""
    return jnp.asarray(automaton.next_SxK)[states_B, jnp.asarray(automaton.class_V)[tokens_B]]


def regular_expression(
    pattern: str, texts: Sequence[str], end: int, *, first: Sequence[str] | None = None
) -> Automaton:
    """The automaton of token sequences whose text is matched, whole, by a regular expression.

    texts: each token's text by its id, "" for one that is none by itself (a special token, a part
      of a character), which is never allowed.
    end: the token that ends a text; it is allowed where the text is matched.
    first: each token's text where it is the first one, if that is another (without its space).

    The syntax is greenery's, that of Python's `re` without anchors, lookaround, groups' names, back
    references, possessive quantifiers and flags; {0,3} is not short, and "-" is escaped in [a\\-].
    "." is any character, and \\w, \\d and \\s are ASCII's.

    Raises InputError if the pattern can't be read, or if no sequence of the tokens matches it.
    """
    if ANCHOR.search(QUOTED.sub("", pattern)):  # which greenery would take for themselves
        raise InputError(
            f"the pattern {pattern!r} is matched whole: leave out ^ and $, or write [\\^] and [$]"
        )
    # greenery knows a few signs' escapes, and the number of each.
    numbered = ESCAPED.sub(lambda found: f"\\x{ord(found[1]):02x}", pattern)
    try:
        machine = greenery.parse(numbered).to_fsm().reduce()
    except Exception as error:  # greenery's own class of errors is not public
        raise InputError(f"the pattern {pattern!r} can't be read: {error}") from None
    order = {state: i for i, state in enumerate(machine.states)}
    kinds = sorted(machine.alphabet)
    start, dead = len(order), len(order) + 1  # the start is a copy to which nothing leads
    delta = np.full((dead + 1, len(kinds) + 1), dead, np.int32)
    for state, moves in machine.map.items():
        for kind, after in moves.items():
            delta[order[state], kinds.index(kind)] = order[after]
    delta[start] = delta[order[machine.initial]]

    first = texts if first is None else first
    characters = sorted(set("".join([*texts, *first])))
    kind_of = {c: next(i for i, k in enumerate(kinds) if k.accepts(c)) for c in characters}
    accepting = {order[state] for state in machine.finals}
    accepting |= {start} if order[machine.initial] in accepting else set()

    def spelled(text: str) -> np.ndarray:
        return np.array([kind_of[c] for c in text], np.int32)

    def walk(tokens: range) -> np.ndarray:
        found = walked(delta, [spelled(texts[token]) for token in tokens])
        other = [i for i, token in enumerate(tokens) if first[token] != texts[token]]
        found[other, start] = walked(delta, [spelled(first[tokens[i]]) for i in other])[:, start]
        return found

    named = f"the pattern {pattern!r}"
    return automaton(walk, len(texts), dead, accepting, start, end, named)


def grammar(
    moves: Sequence[Mapping[int, int]], accepting: Collection[int], size: int, end: int
) -> Automaton:
    """The automaton with a state for each of `moves`, which says to which state a token leads.

    The first state is the start; in one of `accepting` the `end` token may follow. A set of allowed
    tokens is a single state: `grammar([dict.fromkeys(tokens, 0)], {0}, size, end)`. `size` is
    the vocabulary's. Raises InputError if no sequence of tokens comes to an accepting state, for
    a token or a state that there isn't, and for a move by the end token.
    """
    for state in accepting:
        if not 0 <= state < len(moves):
            raise InputError(f"state {state} accepts; states are below {len(moves)}")
    for state, after in enumerate(moves):
        for token, target in after.items():
            if not 0 <= token < size:
                raise InputError(f"state {state} has token {token}; the model's are below {size}")
            if token == end:
                raise InputError(f"state {state} has the end token {end}; let it accept instead")
            if not 0 <= target < len(moves):
                raise InputError(f"state {state} leads to {target}; states are below {len(moves)}")

    def walk(tokens: range) -> np.ndarray:
        dead = len(moves)
        columns = [[after.get(token, dead) for after in moves] for token in tokens]
        return np.array(columns, np.int32)

    return automaton(walk, size, len(moves), accepting, 0, end, "the grammar")


def first_texts(decode: Callable[[Sequence[int]], str], size: int) -> list[str]:
    """Each token's text by itself, by its id: "" for special tokens and parts of characters."""
    texts = (decode([token]) for token in range(size))
    return ["" if "\ufffd" in text else text for text in texts]


def token_texts(decode: Callable[[Sequence[int]], str], size: int) -> list[str]:
    """What each token adds to a text, by its id: "" for special tokens and parts of characters.

    A tokenizer may write a token otherwise at a text's start (without its space), so each is read
    after another one.
    """
    before = next(i for i, text in enumerate(first_texts(decode, size)) if text)
    start = decode([before])
    texts = (decode([before, token]).removeprefix(start) for token in range(size))
    return ["" if "\ufffd" in text else text for text in texts]


def walked(delta_SxA: np.ndarray, spelled: list[np.ndarray]) -> np.ndarray:
    """Where each token leads from each state, (tokens, S - 1); an empty token to the dead state."""
    dead = len(delta_SxA) - 1
    lengths = np.array([len(token) for token in spelled], int)
    states_NxS = np.tile(np.arange(dead, dtype=np.int32), (len(spelled), 1))
    for i in range(lengths.max(initial=0)):
        longer = np.flatnonzero(lengths > i)
        letters = np.array([spelled[token][i] for token in longer])
        states_NxS[longer] = delta_SxA[states_NxS[longer], letters[:, None]]
    states_NxS[lengths == 0] = dead
    return states_NxS


def automaton(
    walk: Callable[[range], np.ndarray],
    size: int,
    states: int,
    accepting: Collection[int],
    start: int,
    end: int,
    named: str,
) -> Automaton:
    """Finds the tokens' classes, adds the end token and the dead state, and prunes.

    `walk(tokens)` says where each of some tokens leads from each state; `states` is the dead one.
    Raises InputError if it allows no text, or if there is no such `end` token.
    """
    if not 0 <= end < size:
        raise InputError(f"{named} has end token {end}; the model's are below {size}")
    ended, dead = states, states + 1
    number: dict[bytes, int] = {}
    columns: list[np.ndarray] = []
    class_V = np.empty(size, np.int32)
    for first in range(0, size, CHUNK):
        tokens = range(first, min(first + CHUNK, size))
        found = walk(tokens)
        found = np.where(found == states, dead, found)
        for token, column in zip(tokens, found, strict=True):
            key = column.tobytes()
            if key not in number:
                number[key] = len(columns)
                columns.append(column)
            class_V[token] = number[key]
    class_V[end] = len(columns)
    columns.append(np.array([ended if s in accepting else dead for s in range(states)], np.int32))

    next_SxK = np.full((states + 2, len(columns)), dead, np.int32)
    next_SxK[:states] = np.stack(columns, axis=1)
    far_S = distances(next_SxK, [*accepting, ended])
    if far_S[start] == FAR:
        raise InputError(f"{named} allows no text of these tokens")
    alive_SxK = np.where(far_S[next_SxK] == FAR, dead, next_SxK)
    next_SxK, merged_K = np.unique(alive_SxK, axis=1, return_inverse=True)
    return packed(next_SxK, merged_K[class_V].astype(np.int32), far_S, start, end)


def distances(next_SxK: np.ndarray, accepting: Collection[int]) -> np.ndarray:
    """The fewest tokens from each state to an accepting one, `FAR` where there is no way."""
    far_S = np.full(len(next_SxK), FAR, np.int32)
    far_S[list(accepting)] = 0
    while True:
        nearer_S = np.minimum(far_S, np.minimum(FAR - 1, far_S[next_SxK].min(axis=1)) + 1)
        if np.array_equal(nearer_S, far_S):
            return far_S
        far_S = nearer_S


def packed(
    next_SxK: np.ndarray, class_V: np.ndarray, far_S: np.ndarray, start: int, end: int
) -> Automaton:
    """Pads states and classes to powers of two, so that automata of like size share a program."""
    states, kinds = next_SxK.shape
    more_states, more_kinds = (-n % (1 << (n - 1).bit_length()) for n in (states, kinds))
    dead = states + more_states - 1
    next_SxK = np.where(next_SxK == states - 1, dead, next_SxK)
    next_SxK = np.pad(next_SxK, ((0, more_states), (0, more_kinds)), constant_values=dead)
    far_S = np.pad(far_S, (0, more_states), constant_values=FAR)
    return Automaton(next_SxK.astype(np.int32), class_V, far_S, start, end)
