"""A pattern that chooses no parameter is a slip, and said."""

import pytest
from ml_collections import ConfigDict

from research.configuration import load_config
from research.errors import InputError
from research.experiment import build


def checked(**keys):
    config = load_config("configs/classifier.py:digits_debug")
    config.sharding = keys.pop("sharding", [])
    config.optimizer.update(keys)
    build(config).check()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (dict(decayed="kernal$"), "optimizer.decayed: 'kernal.' is in no parameter's path; paths"),
        (dict(rates=[("kernel", 0.1), ("^Dence", 2)]), "optimizer.rates: '.Dence' is in no"),
        (dict(sharding=[("tokens$", ("fsdp",))]), "sharding: 'tokens.' is in no parameter's path"),
        (dict(decayed="kernel)"), r"optimizer.decayed: 'kernel\)' is no regular expression: un"),
        (dict(rates=[("(kernel", 0.1)]), "optimizer.rates: .* is no regular expression: missing"),
        (dict(sharding=[("*kernel", ("fsdp",))]), "sharding: .* no regular expression: nothing to"),
    ],
)
def test_a_pattern_for_nothing_is_refused(keys, message):
    with pytest.raises(InputError, match=message):
        checked(**keys)


def test_a_rule_of_more_axes_than_anything_has_dimensions_is_refused():
    with pytest.raises(InputError, match=r"'kernel.' has 5 axes, and what it is for 4 dim"):
        checked(sharding=[("kernel$", ("fsdp", None, None, None, None))])


@pytest.mark.parametrize("key", [dict(rates=[("^halve0/", 0.0)]), dict(decayed="^halve0/")])
def test_a_players_patterns_are_of_its_own_parameters(key):
    config = load_config("configs/gan.py:digits_debug")
    config.optimizer.discriminator.update(weight_decay=0.1, **key)
    build(config).check()
    config.optimizer.generator.update(weight_decay=0.1, **key)
    with pytest.raises(InputError, match=r"optimizer.generator.*: '.halve0/' is in no parameter's"):
        build(config).check()


def test_a_decay_that_would_decay_nothing_is_refused():
    config = load_config("configs/word2vec.py:skipgram_debug")
    config.optimizer.weight_decay = 0.5
    with pytest.raises(InputError, match=r"optimizer.decayed: 'kernel.' is in no parameter's path"):
        build(config).check()


def test_a_pattern_that_an_earlier_one_hides_is_for_something():
    checked(
        decayed="bias$|scales$",
        rates=[("kernel", 0.1), ("conv0", 2.0)],
        sharding=[("kernel", ()), ("conv0/kernel", ())],
    )


def test_what_a_frozen_group_has_is_something():
    """As the base of adapters: the config of its training is theirs too."""
    config = load_config("configs/gpt.py:shakespeare_char_debug")
    config.lora = ConfigDict(dict(rank=2, adapted="(qkv|up)/kernel$"))
    build(config).check()


def test_what_decays_by_nothing_needs_no_parameter():
    checked(decayed="kernal$", weight_decay=0.0)
