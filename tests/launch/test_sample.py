"""The flags of launch.sample are the keyword arguments of the method's `sample`."""

from collections.abc import Sequence

import pytest

from launch.sample import sampling_options
from research.errors import InputError


def sample(
    state,
    rng,
    *,
    count: int,
    solver: str = "ddim",
    steps: int | None = None,
    guidance: float = 0.0,
    labels: Sequence[int] | None = None,
    batch: dict | None = None,
): ...


def test_options_are_typed_as_annotated():
    flags = ["--solver=heun", "--steps=50", "--guidance=2", "--labels=1,2,3"]
    options = sampling_options(flags, sample)
    assert options == {"solver": "heun", "steps": 50, "guidance": 2.0, "labels": (1, 2, 3)}
    assert isinstance(options["guidance"], float)


@pytest.mark.parametrize("text", ["1984", "[0-9]+", "'hi'", "{[]}", "None", ""])
def test_a_text_is_taken_as_it_is(text):
    assert sampling_options([f"--solver={text}"], sample) == {"solver": text}


def test_labels_may_stand_in_brackets():
    assert sampling_options(["--labels=[1, 2]"], sample)["labels"] == [1, 2]


def test_one_label_is_a_list_of_one():
    assert sampling_options(["--labels=3"], sample)["labels"] == (3,)


def test_what_may_be_none_is_set_to_none():
    assert sampling_options(["--steps=None"], sample)["steps"] is None


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--guidence=2", r"takes no --guidence=2; nearest: guidance"),
        ("--steps=many", r"--steps=many has the wrong type; it takes int \| None"),
        ("--steps=1.5", r"--steps=1.5 has the wrong type"),
        ("--steps={[]}", r"--steps={\[\]} has the wrong type"),
        ("--labels=1.5", r"--labels=1.5 has the wrong type"),
        ("--labels=1.5,2", r"--labels=1.5,2 has the wrong type"),
        ("--labels='a','b'", r"--labels='a','b' has the wrong type"),
        ("--labels=one", r"--labels=one has the wrong type"),
        ("--guidance=None", "--guidance=None has the wrong type; it takes float"),
        (f"--guidance={10**400}", "--guidance=1000*0 has the wrong type; it takes float"),
        ("--state=3", r"takes no --state=3"),
        ("--batch=3", r"takes no --batch=3"),
        ("steps=3", r"'steps=3' is no --name=value"),
    ],
)
def test_a_wrong_option_is_one_line(flag, message):
    with pytest.raises(InputError, match=message):
        sampling_options([flag], sample)
