"""Questions: the right answer is among the choices, solved ones are of the training split."""

import random

import pytest

from research.data import choice_tasks, corpora, labelled_texts, text_pairs
from research.data.choice_tasks import questions
from research.data.corpora import hashed
from research.data.labelled_texts import Example
from research.errors import InputError

PLAY = "\n".join(f"line {i} of SPLIT" for i in range(23))


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Texts at hand in place of packages."""
    animal = labelled_texts.CLASSES["gloss_categories"].names.index("noun.animal")
    verb = labelled_texts.CLASSES["gloss_categories"].names.index("verb.body")
    top = labelled_texts.CLASSES["gloss_categories"].names.index("noun.Tops")
    monkeypatch.setattr(
        corpora,
        "documents",
        lambda name, split: hashed([PLAY.replace("SPLIT", split), "too short"]),
    )
    monkeypatch.setattr(
        text_pairs,
        "pairs",
        lambda name, split: hashed([(f"word{i}, noun", f"{split} meaning {i}") for i in range(9)]),
    )
    monkeypatch.setattr(
        labelled_texts,
        "chosen",
        lambda name, split: [
            Example(str(i), (f"{split} definition {i}",), label=label)
            for i, label in enumerate([animal, verb, top, animal])
        ],
    )


def test_the_line_that_follows_is_among_others_of_the_work():
    asked = questions("next_line", count=100, shots=0, seed=0)
    assert len(asked) == 4
    for question in asked:
        *context, empty = question.prompt.split("\n")
        right = question.choices[question.answer]
        assert empty == "" and len(context) == 4
        assert int(right.split()[1]) == int(context[-1].split()[1]) + 1
        assert len(set(question.choices)) == 4 and all("of test" in x for x in question.choices)


def test_kinds_of_nouns():
    asked = questions("gloss_kind", count=100, shots=0, seed=0)
    assert sorted(q.prompt for q in asked) == [
        f"Definition: test definition {i}\nKind:" for i in (0, 3)
    ]
    assert {q.choices[q.answer] for q in asked} == {" animal"}
    assert len(asked[0].choices) == 25 and " Tops" not in asked[0].choices


def test_the_meaning_of_a_word():
    for question in questions("gloss_meaning", count=5, shots=0, seed=0):
        number = question.prompt.removeprefix("Word: word")[0]
        assert question.choices[question.answer] == f" test meaning {number}"


def test_few_shot_prompts_are_solved_questions_of_training():
    asked = questions("gloss_meaning", count=5, shots=2, seed=0)
    first, second, own = asked[0].prompt.split("\n\n")
    for solved in (first, second):
        number = solved.removeprefix("Word: word")[0]
        assert solved == f"Word: word{number}, noun\nMeaning: train meaning {number}"
    assert "test" not in own and own.endswith("Meaning:")
    assert len({q.prompt.rpartition("\n\n")[0] for q in asked}) == 1


def test_answers_stand_at_all_places_and_a_seed_is_a_choice():
    asked = [
        choice_tasks._among("", "right", ["a", "b", "c", "d"], random.Random(i)) for i in range(50)
    ]
    assert {q.answer for q in asked} == {0, 1, 2, 3}
    given = dict(count=4, shots=1)
    assert questions("next_line", seed=1, **given) == questions("next_line", seed=1, **given)
    assert questions("next_line", seed=1, **given) != questions("next_line", seed=2, **given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (dict(name="nextline"), "no task 'nextline'; nearest: next_line"),
        (dict(count=0), "0 questions after 0 solved ones"),
        (dict(shots=-1), "-1 solved"),
        (dict(shots=10**6), "1000000 solved questions were asked for; next_line has "),
    ],
)
def test_bad_input(given, message):
    with pytest.raises(InputError, match=message):
        questions(**(dict(name="next_line", count=1, shots=0, seed=0) | given))
