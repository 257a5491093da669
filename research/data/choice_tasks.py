"""Questions with answers to choose from, written out by templates for a language model to rank."""

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from research.data import corpora, labelled_texts, text_pairs
from research.errors import InputError, check_choice


class Question(NamedTuple):
    """Which of the `choices`, texts that go on from the prompt, is right: number `answer`."""

    prompt: str
    choices: tuple[str, ...]
    answer: int


LINES = 4  # of context
CHOICES = 4
DEFINITION = "Definition: {definition}\nKind:"
WORD = "Word: {word}\nMeaning:"


def questions(name: str, *, count: int, shots: int, seed: int) -> list[Question]:
    """`count` questions of the test split, or all of fewer, each after `shots` solved ones.

    Those are of the training split, the same for all. TASKS names the tasks:
    next_line, the line that follows four in one of Shakespeare's works, among three others of it;
    gloss_kind, the kind of thing that a noun's definition is of, among 25;
    gloss_meaning, the definition of a word, among three others of the split, which may be of other
    meanings of that word.

    Raises:
      InputError: there is no such task, or its texts cannot be had.
    """
    check_choice("task", name, TASKS)
    if count < 1 or shots < 0:
        raise InputError(f"{count} questions after {shots} solved ones: 1 and 0 at least")
    order = random.Random(seed)
    asked = TASKS[name]("test", random.Random(seed))
    asked = order.sample(asked, min(count, len(asked)))
    if not shots:
        return asked
    known = TASKS[name]("train", random.Random(seed))
    if shots > len(known):
        raise InputError(f"{shots} solved questions were asked for; {name} has {len(known)}")
    solved = order.sample(known, shots)
    before = "".join(f"{q.prompt}{q.choices[q.answer]}\n\n" for q in solved)
    return [q._replace(prompt=before + q.prompt) for q in asked]


def _next_line(split: str, rng: random.Random) -> list[Question]:
    found = []
    for text in corpora.documents("shakespeare", split).read():
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        for start in range(0, len(lines) - LINES, LINES + 1):
            *context, right = lines[start : start + LINES + 1]
            found.append(_among("\n".join(context) + "\n", right, lines, rng))
    return found


def _gloss_kind(split: str, rng: random.Random) -> list[Question]:
    names = labelled_texts.CLASSES["gloss_categories"].names
    kinds = {i: f" {n.partition('.')[2]}" for i, n in enumerate(names) if n.startswith("noun.")}
    kinds = {number: kind for number, kind in kinds.items() if kind != " Tops"}
    choices = tuple(kinds.values())
    return [
        Question(DEFINITION.format(definition=e.texts[0]), choices, choices.index(kinds[e.label]))
        for e in labelled_texts.chosen("gloss_categories", split)
        if e.label in kinds
    ]


def _gloss_meaning(split: str, rng: random.Random) -> list[Question]:
    pairs = list(text_pairs.pairs("glosses", split).read())
    meanings = [f" {meaning}" for _, meaning in pairs]
    prompts = [WORD.format(word=word) for word, _ in pairs]
    return [_among(p, m, meanings, rng) for p, m in zip(prompts, meanings, strict=True)]


def _among(prompt: str, right: str, others: Sequence[str], rng: random.Random) -> Question:
    """The right text at any place among others that are not the same."""
    choices: set[str] = {right}
    while len(choices) < CHOICES:
        choices.add(rng.choice(others))
    mixed = sorted(choices)
    rng.shuffle(mixed)
    return Question(prompt, tuple(mixed), mixed.index(right))


TASKS: dict[str, Callable[[str, random.Random], list[Question]]] = {
    "next_line": _next_line,
    "gloss_kind": _gloss_kind,
    "gloss_meaning": _gloss_meaning,
}
