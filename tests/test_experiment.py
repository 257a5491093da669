"""A config becomes an experiment: one part or one a role, and clear answers to wrong ones."""

import functools
import math

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from research import experiment
from research.configuration import load_config
from research.data import datasets, pipelines
from research.data.datasets import EpisodeSet
from research.data.examples import Dataset, InMemory
from research.errors import InputError
from research.experiment import build, by_role
from research.training import execution
from research.training.state import TrainState


def name_of(config, section):
    return f"{section}:{config.name}"


def test_a_section_is_one_part_or_one_a_role():
    one = by_role("network", ConfigDict({"name": "unet", "channels": 8}), name_of)
    assert one == {"network": "network:unet"}
    roles = ConfigDict({"encoder": {"name": "mlp"}, "decoder": {"name": "unet"}})
    assert by_role("network", roles, name_of) == {
        "networks": {"encoder": "network.encoder:mlp", "decoder": "network.decoder:unet"}
    }


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("method", "name", "difusion", "method.name='difusion' is unknown.*diffusion"),
        ("method", "schedule", "cosin", "'cosin'.*nearest: cosine"),
        ("network", "name", "unot", "network.name='unot' is unknown; nearest: unet"),
        ("network", "chanels", 3, "network.chanels is unknown.*channels"),
        ("optimizer", "learning_rates", 3, "optimizer.learning_rates is unknown.*learning_rate"),
    ],
)
def test_what_is_unknown_is_answered_with_the_nearest(section, key, value, message):
    config = load_config("configs/ddpm.py:digits_debug")
    with config.unlocked():
        config[section][key] = value
    with pytest.raises(InputError, match=message):
        build(config)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("seed", -1, "seed is -1; 0 is the least"),
        ("seed", 2**32, "seed is 4294967296; 4294967295 is the most"),
        ("optimizer.learning_rate", -1.0, "learning_rate is -1.0; 0 is the least"),
        ("checkpoint.every_steps", -1, "checkpoint.every_steps is -1; 0 is the least"),
        ("evaluate.batch_size", 0, "evaluate.batch_size is 0; 1 is the least"),
        ("evaluate.count", -1, "evaluate.count is -1; 0 is the least"),
        ("mesh.fsdp", 0, "mesh.fsdp is 0; 1 is the least"),
        ("method.minibatches", 0, "minibatches is 0; 1 is the least"),
        ("method.epochs", 0, "epochs is 0; 1 is the least"),
        ("method.kl_target", 0.01, "kl_target=0.01 adapts kl_weight.*above 0"),
        ("optimizer.learning_rate", None, "optimizer lacks learning_rate"),
        ("log.every_steps", None, "the config lacks log.every_steps"),
        ("mesh", None, "the config lacks mesh"),
        ("checkpoint.keep", None, "the config lacks checkpoint.keep"),
        ("data.name", None, "the config lacks data.name"),
        ("data.batch_size", None, "the config lacks data.batch_size"),
        ("data.name", 3, "data.name is 3; it takes a name"),
        ("data.batch_size", 8.0, "data.batch_size is 8.0; it takes an integer"),
        ("evaluate.count", "many", "evaluate.count is 'many'; it takes an integer"),
        ("steps", 1505.0, "steps is 1505.0; it takes an integer"),
        ("steps_per_execution", "2", "steps_per_execution is '2'; it takes an integer"),
        ("log.every_steps", True, "log.every_steps is True; it takes an integer"),
        ("network.widths", 3, r"network.widths is 3; it takes Sequence\[int\]"),
        ("network.widths", ("a", 2), r"network.widths is \('a', 2\); it takes Sequence\[int\]"),
        ("method.epochs", "2", "method.epochs is '2'; it takes int"),
        ("optimizer.clip_norm", "1", r"optimizer.clip_norm is '1'; it takes float \| None"),
        ("mesh.fsdp", 1.5, "mesh.fsdp is 1.5; it takes int"),
        ("environment.id", 3, "environment.id is 3; it takes str"),
        ("sharding", ["kernel$"], r"sharding has 'kernel\$'; it takes a list of \(str, list"),
        ("sharding", [(3, ("data",))], r"sharding has \(3, .*it takes a list of \(str, lis"),
        ("sharding", [("kernel$", "fsdp")], r"sharding has .*it takes a list of \(str, list"),
        ("steps", 0, "steps is 0; 1 is the least"),
        ("optimizer.rates", ["^x"], r"rates has '\^x'; it takes a list of \(str, float\)"),
        ("optimizer.rates", [("^x",)], r"rates has \('\^x',\); it takes a list of \(str, float\)"),
        ("optimizer.drops", [(9, "x")], r"drops has \(9, 'x'\); it takes a list of \(int, float\)"),
        ("environment", 3, "environment is 3; it takes a section"),
        ("network.widths", (8, "a"), r"network.widths is \(8, 'a'\); it takes Sequence\[int\]"),
        ("lora", 3, "lora is 3; it takes a section"),
        ("shardings", [], "config.shardings is unknown; nearest: sharding"),
        ("steps_per_executions", 2, "config.steps_per_executions is unknown; nearest: steps_per_e"),
        ("log.evry", 2, "log.evry is unknown; .*every_steps"),
        ("checkpoint.keeps", 2, "checkpoint.keeps is unknown; nearest: keep"),
        ("evaluate.batchsize", 2, "evaluate.batchsize is unknown; nearest: batch_size"),
        ("sample.cuont", 2, "sample.cuont is unknown; nearest: count"),
    ],
)
def test_a_value_that_is_wrong_missing_or_unknown_is_named(path, value, message):
    config = load_config("configs/ppo.py:cartpole_debug")
    *sections, key = path.split(".")
    with config.unlocked():
        part = functools.reduce(lambda part, name: part[name], sections, config)
        if key in part:
            del part[key]  # with its type
        if value is not None:
            part[key] = value
    with pytest.raises(InputError, match=message):
        build(config)


@pytest.mark.parametrize(
    ("config", "path", "value"),
    [
        ("vae.py:digits_debug", "network.encoder.latent", 0),
        ("vae.py:digits_debug", "network.encoder.levels", -1),
        ("vae.py:digits_debug", "network.decoder.width", -8),
        ("iwae.py:mnist_debug", "network.encoder.latent", -1),
        ("iwae.py:mnist_debug", "network.decoder.hidden", (200, 0)),
        ("ddpm.py:digits_debug", "network.blocks", 0),
        ("classifier.py:digits_debug", "network.features", 0),
        ("gan.py:ring_debug", "network.generator.layers", -1),
        ("gan.py:ring_debug", "network.discriminator.layers", 0),
        ("gan.py:mnist_debug", "method.latent_dim", 0),
        ("ppo.py:cartpole_debug", "network.widths", (64, -1)),
        ("ppo.py:canvas_debug", "network.width", 0),
        ("improved_ddpm.py", "network.out_factor", 0),
        ("gpt.py:shakespeare_char_debug", "network.hidden", 0),
        ("t5.py:summarize_debug", "network.hidden", -1),
    ],
)
def test_a_size_below_1_is_one_line_before_anything_is_trained(config, path, value):
    made = load_config(f"configs/{config}")
    made.update_from_flattened_dict({path: value})
    least = np.min(value)
    with pytest.raises(InputError, match=f"{path.split('.')[-1]} is {least}; 1 is the least"):
        build(made).check()


def test_a_locked_config_is_built_and_left_as_it_was():
    """As flags give it."""
    config = load_config("configs/classifier.py:digits_debug").lock()
    before = config.to_json()
    build(config)
    assert config.to_json() == before


def test_bits_are_a_byte_of_the_texts_that_are_evaluated():
    """Where tokens are pieces of words the splits' have not the same bytes."""
    made = build(load_config("configs/gpt.py:shakespeare_bpe_debug"))
    of_test = made.test_data.bytes_per_token
    assert made.method.bytes_per_token == of_test != made.train_data.bytes_per_token
    ngrams = made.method.trivial(made.train_data, made.test_data)
    nats, bits = ngrams["loss"]["unigram"], ngrams["bits_per_byte"]["unigram"]
    assert nats / math.log(2) / made.method.bytes_per_token == pytest.approx(bits)


@pytest.mark.parametrize("variant", ["canvas", "emoji", "canvas_debug"])
def test_a_painters_rate_falls_to_the_runs_end_however_long(variant):
    config = load_config(f"configs/ppo.py:{variant}")
    config.steps, config.method.epochs = 30, 3
    assert config.optimizer.total_steps == 30 * 3 * config.method.minibatches


def test_what_is_drawn_after_examples_is_given_those_of_the_test_set():
    """Evenly, whether at once or in batches; and nothing of the kind where samples need none."""
    painter = build(load_config("configs/ppo.py:canvas_debug"))
    images = painter.test_data.arrays()["image"]

    def shown(**asked):
        options = painter.sample_options(**asked)
        assert "every_steps" not in options
        return options["batch"]["image"]

    places = [0, (len(images) - 1) // 3, 2 * (len(images) - 1) // 3, -1]
    np.testing.assert_array_equal(shown(count=4), images[places])
    np.testing.assert_array_equal(shown(count=len(images)), images)
    np.testing.assert_array_equal(shown(count=1), images[:1])
    batches = [shown(first=first, count=3, total=4) for first in (0, 3)]
    np.testing.assert_array_equal(np.concatenate(batches), images[[*places, 0, places[1]]])
    assert painter.sample_options()["count"] == len(painter.sample_options()["batch"]["image"]) == 2
    diffusion = build(load_config("configs/ddpm.py:digits_debug"))
    assert "batch" not in diffusion.sample_options()


def test_another_strategy_of_writing_is_not_given_the_configs_settings():
    config = load_config("configs/gpt.py:shakespeare_char_debug")
    with config.unlocked():
        config.sample = dict(every_steps=0, count=2, new_tokens=8, strategy="beam", beams=3)
    writer = build(config)
    assert writer.sample_options()["beams"] == 3
    assert writer.sample_options(strategy="beam", length_penalty=1.0)["beams"] == 3
    greedy = writer.sample_options(strategy="greedy", count=1)
    assert greedy == {"count": 1, "new_tokens": 8, "strategy": "greedy"}


def test_a_strategy_keeps_those_of_the_configs_settings_that_it_takes():
    config = load_config("configs/gpt.py:shakespeare_char_debug")
    settings = dict(temperature=0.7, top_p=0.5, regex="[a-z]+")
    with config.unlocked():
        config.sample = dict(every_steps=0, count=2, **settings)
    writer = build(config)
    the_default = writer.sample_options(strategy="nucleus")
    assert the_default == {"count": 2, "strategy": "nucleus", **settings}
    another = writer.sample_options(strategy="min_p")
    assert another == {"count": 2, "strategy": "min_p", "temperature": 0.7, "regex": "[a-z]+"}
    assert writer.sample_options(strategy="nope") == {"count": 2, "strategy": "nope"}


def test_the_datas_own_shape_may_be_stated():
    config = load_config("configs/ddpm.py:digits_debug")
    config.method.image_shape = (8, 8, 1)
    assert build(config).method.image_shape == (8, 8, 1)
    config.method.image_shape = (8, 8)
    with pytest.raises(InputError, match=r"is \(8, 8\); it takes tuple\[int, int, int\]"):
        build(config)


def test_a_small_set_is_kept_on_the_devices_by_several_steps_at_once(monkeypatch):
    """A larger one, and one step at a time, are fed from the host; the run is the same."""
    config = load_config("configs/vae.py:digits_debug")
    config.steps = 3

    def trained(at_once):
        return build(config).train(steps_per_execution=at_once).params

    one_by_one = trained(1)
    with monkeypatch.context() as patched:
        patched.setattr(pipelines, "_gather", None)
        kept = trained(2)
    monkeypatch.setattr(Dataset, "fits_on_device", False)
    monkeypatch.setattr(execution, "rows", None)
    streamed = trained(2)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
    jax.tree.map(close, kept, streamed)
    jax.tree.map(close, kept, one_by_one)


@pytest.mark.parametrize("seed", [0, 3])
def test_the_configs_seed_is_that_of_the_batches_and_of_the_training(seed, monkeypatch):
    config = load_config("configs/vae.py:digits_debug")
    config.seed = seed
    made = build(config)
    seen = {}

    def train(method, stream, *, seed, **options):
        seen.update(seed=seed, batch=next(stream))
        return TrainState(0, {}, {}, {})

    monkeypatch.setattr(experiment, "train", train)
    made.train()
    assert seen["seed"] == seed
    own = pipelines.train_iterator(made.train_data, batch_size=made.batch_size, seed=seed)
    np.testing.assert_array_equal(seen["batch"]["image"], next(own)["image"])


def test_what_fits_on_a_device_is_counted_as_it_would_lie_there():
    """Windows that overlap take each its own room."""
    make = lambda source: EpisodeSet(name="", split="", fingerprint="", source=source)  # noqa: E731
    tokens = np.zeros(2**20, np.int32)
    assert make(InMemory({"tokens": tokens})).fits_on_device
    windows = np.lib.stride_tricks.sliding_window_view(tokens, 65)
    assert not make(InMemory({"tokens": windows})).fits_on_device
    assert make(InMemory({"tokens": windows[::2]})).fits_on_device
    assert not make([{"tokens": tokens}]).fits_on_device


@pytest.mark.parametrize("name", ["digits", "ring", "episodes"])
def test_an_example_batch_has_the_fields_of_a_real_one(name):
    dataset = datasets.load(name, "test")
    zeros = dataset.zeros(3)
    for field, values in dataset.arrays().items():
        assert zeros[field].shape == (3, *values.shape[1:]) and zeros[field].dtype == values.dtype
        assert not np.any(zeros[field])


@pytest.mark.parametrize("name", ["ring", "episodes"])
def test_a_split_that_is_not_there(name):
    with pytest.raises(InputError, match=f"{name} has no split 'validation'; .*train"):
        datasets.load(name, "validation")


@pytest.mark.parametrize("name", ["mdlm.py:shakespeare_char", "bert.py:shakespeare"])
def test_a_tokenizer_without_a_mask_builds_nothing_that_hides_tokens(name):
    """Told here, before a run has made its directory."""
    config = load_config(f"configs/{name}_debug")
    config.data.tokenizer = "gpt2"
    if "vocabulary_size" in config.data:
        del config.data.vocabulary_size
    with pytest.raises(InputError, match="the tokenizer has no mask token"):
        build(config)
