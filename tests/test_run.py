"""A run in its directory: what of a config may change, and what is told before training."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from research import run
from research.configuration import load_config
from research.data import datasets
from research.errors import InputError
from research.experiment import build
from research.files import held
from research.training import manifest
from research.training.method import Method
from research.training.state import TrainState

STATE = TrainState(0, {}, {}, {})


class Echo(Method):
    """Its samples are noise and the examples they are drawn after, its metric is an example's."""

    def init_params(self, rng, batch):
        return {}

    def objectives(self):
        return []

    def evaluate(self, state, batch, rng):
        return {"value": jnp.float32(batch["label"]), "weight": 1.0 + batch["label"]}

    def sample(self, state, rng, *, count, batch, scale=1.0):
        return {"noise": scale * jax.random.normal(rng, (count,)), "seen": batch["image"]}


def echoing(*, batch_size):
    experiment = build(debug())
    sample = {"every_steps": 0, "count": 3, "scale": 5.0}
    evaluate = experiment.evaluate | {"batch_size": batch_size}
    return dataclasses.replace(experiment, method=Echo(), sample=sample, evaluate=evaluate)


def debug(**keys):
    config = load_config("configs/vae.py:digits_debug")
    config.update_from_flattened_dict({key.replace("__", "."): v for key, v in keys.items()})
    return config


def test_what_only_watches_a_training_may_change(tmp_path):
    run.run(debug(), tmp_path)
    written = json.loads((tmp_path / "manifest.json").read_text())
    splits = {f"digits/{split}": datasets.load("digits", split) for split in ("train", "test")}
    assert written["data_sha256"] == {name: data.fingerprint for name, data in splits.items()}
    before = written["final_state_sha256"]
    run.run(debug(sample__count=3, log__every_steps=2, evaluate__count=12), tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["sample"]["count"] == 3
    assert json.loads((tmp_path / "manifest.json").read_text())["final_state_sha256"] == before
    with pytest.raises(InputError, match="was made by another config: seed: 0 -> 1; choose"):
        run.run(debug(seed=1, log__every_steps=1), tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["log"]["every_steps"] == 2


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("method.minibatches", 3, "are not divided by minibatches=3"),
        ("steps_per_execution", 0, "steps_per_execution is 0; 1 is the least"),
        ("checkpoint.keep", 0, "checkpoint.keep is 0; 1 is the least"),
    ],
)
def test_a_command_that_is_refused_takes_no_workdir(tmp_path, path, value, message):
    """The mended command is then no other config's."""
    config = load_config("configs/ppo.py:cartpole_debug")
    with config.unlocked():
        config.steps_per_execution = 1
        config.update_from_flattened_dict({path: value})
    with pytest.raises(InputError, match=message):
        run.run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_workdir_is_one_process_at_a_time(tmp_path):
    run.run(debug(), tmp_path)
    before = (tmp_path / "config.json").read_text()
    with held(tmp_path), pytest.raises(InputError, match=f"another process works in {tmp_path}"):
        run.run(debug(log__every_steps=2), tmp_path)
    assert (tmp_path / "config.json").read_text() == before
    run.run(debug(log__every_steps=2), tmp_path)


def manifest_of(folder):
    return json.loads((folder / "manifest.json").read_text())


def test_a_run_that_is_through_keeps_the_manifest_of_what_trained_it(tmp_path, monkeypatch):
    """One that isn't is told anew; and the hash of a state whose run was killed before it."""
    run.run(debug(), tmp_path)
    before = manifest_of(tmp_path)
    monkeypatch.setattr(manifest, "git_state", lambda: {"commit": "later", "dirty": False})
    run.run(debug(sample__count=3), tmp_path)
    assert manifest_of(tmp_path) == before
    unhashed = {key: value for key, value in before.items() if key != "final_state_sha256"}
    (tmp_path / "manifest.json").write_text(json.dumps(unhashed))
    run.run(debug(), tmp_path)
    assert manifest_of(tmp_path) == before
    shutil.rmtree(tmp_path / "checkpoints" / "2")
    run.run(debug(), tmp_path)
    assert manifest_of(tmp_path)["git"]["commit"] == "later"


def test_what_trained_the_earlier_steps_stays_in_the_manifest(tmp_path, monkeypatch):
    """Also where a start that trains nothing stands between; that one does not."""

    def stop(*arguments):
        raise InputError("stopped")

    run.run(debug(checkpoint__every_steps=1), tmp_path)
    before = manifest_of(tmp_path)
    shutil.rmtree(tmp_path / "checkpoints" / "2")
    monkeypatch.setattr(manifest, "git_state", lambda: {"commit": "between", "dirty": False})
    with monkeypatch.context() as failing:
        failing.setattr(run, "train_watched", stop)
        with pytest.raises(InputError, match="stopped"):
            run.run(debug(checkpoint__every_steps=1), tmp_path)
    monkeypatch.setattr(manifest, "git_state", lambda: {"commit": "later", "dirty": False})
    run.run(debug(checkpoint__every_steps=1), tmp_path)
    after = manifest_of(tmp_path)
    (earlier,) = after["earlier"]
    assert earlier["until"] == 1 and earlier["git"] == before["git"]
    assert after["git"]["commit"] == "later"
    assert after["final_state_sha256"] == before["final_state_sha256"]


@pytest.mark.parametrize("adapted", [False, True])
def test_classes_are_drawn_in_turn_whatever_the_batches(adapted):
    config = load_config("configs/ddpm.py:digits_debug")
    if adapted:
        config.lora = ConfigDict(dict(rank=2))
    experiment = build(config)
    state = experiment.method.init(jax.random.key(0), experiment.example())
    drawn = []
    for batch_size in (4, 24):
        experiment = dataclasses.replace(experiment, evaluate={"batch_size": batch_size})
        options = {"solver": "ddim", "steps": 1}
        drawn.append(run.draw(experiment, state, jax.random.key(0), count=24, **options))
    for artefacts in drawn:
        np.testing.assert_array_equal(artefacts["labels"], np.arange(24) % 10)


def test_a_run_goes_on_with_its_own_data_alone(tmp_path):
    run.run(debug(), tmp_path)
    path = tmp_path / "manifest.json"
    other = manifest_of(tmp_path)
    other["data_sha256"]["digits/train"] = "another"
    path.write_text(json.dumps(other))
    shutil.rmtree(tmp_path / "checkpoints" / "2")
    with pytest.raises(InputError, match=r"other data than digits/train is now; .* --workdir"):
        run.run(debug(), tmp_path)
    assert manifest_of(tmp_path) == other
    shutil.rmtree(tmp_path / "checkpoints")
    run.run(debug(), tmp_path)
    assert manifest_of(tmp_path)["data_sha256"]["digits/train"] != "another"


def test_a_workdir_that_is_a_file(tmp_path):
    path = tmp_path / "notes"
    path.write_text("mine")
    with pytest.raises(InputError, match=r"cannot write in .*notes: File exists"):
        run.run(debug(), path)
    assert path.read_text() == "mine"


def test_a_workdir_of_another_config_is_told_before_its_files_are_read(tmp_path):
    """Here the tokenizer of another text."""
    (tmp_path / "checkpoints" / "1").mkdir(parents=True)
    (tmp_path / "config.json").write_text('{"seed": 7}')
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match=r"was made by another config: .*seed: 7 -> 0"):
        run.run(load_config("configs/gpt.py:shakespeare_char_debug"), tmp_path)


def test_one_example_has_no_standard_error():
    assert run.estimate(np.array([2.0])) == (2.0, pytest.approx(np.nan, nan_ok=True), 1)


def test_a_wrong_way_to_sample_is_named_before_the_first_step(tmp_path):
    """The mended command then goes on in the same directory, and shows the untrained network."""
    config = load_config("configs/ddpm.py:digits_debug")
    with config.unlocked():
        config.sample.solver = "ddmi"
    with pytest.raises(InputError, match="nearest: ddim"):
        run.run(config, tmp_path)
    assert not (tmp_path / "metrics.jsonl").read_text()
    config.sample.solver = "ddim"
    assert int(run.run(config, tmp_path).step) == config.steps
    shown = sorted(path.name for path in (tmp_path / "samples").glob("images_*"))
    assert shown[0] == "images_0000000.png" and len(shown) > 1


def test_batches_of_one_draw_differ_and_are_of_examples_all_over_the_test_set():
    """Their options go before the config's."""
    experiment, rng = echoing(batch_size=2), jax.random.key(7)
    found = run.draw(experiment, STATE, rng, count=5, scale=2.0)
    noise = [jax.random.normal(jax.random.fold_in(rng, index), (2,)) for index in range(3)]
    np.testing.assert_allclose(found["noise"], 2.0 * np.concatenate(noise)[:5], rtol=1e-6)
    images = experiment.test_data.arrays()["image"]
    np.testing.assert_array_equal(found["seen"], images[np.arange(5) * (len(images) - 1) // 4])
    by_config = run.draw(experiment, STATE, rng, count=5)["noise"]
    np.testing.assert_allclose(by_config, 2.5 * found["noise"], rtol=1e-6)


def test_metrics_on_test_weigh_each_example():
    """By weights that differ, over all test examples, of which the last batch is not full."""
    experiment = echoing(batch_size=100)
    label = experiment.test_data.arrays()["label"]
    found = run.metrics_on_test(experiment, STATE)
    assert set(found) == {"value"} and found["value"].examples == len(label)
    assert found["value"].mean == pytest.approx(np.average(label, weights=1.0 + label), rel=1e-5)
    assert len(label) % 100


def test_a_directory_without_a_checkpoint_is_claimed_anew(tmp_path):
    """The first config cannot draw; the second's corpus has a tokenizer of its own."""
    config = load_config("configs/gpt.py:shakespeare_char_debug")
    with config.unlocked():
        config.sample.strategy = "nucleos"
    with pytest.raises(InputError, match="nearest: nucleus"):
        run.run(config, tmp_path)
    assert (tmp_path / "tokenizer.json").exists()
    config = load_config("configs/gpt.py:shakespeare_bpe_debug")
    assert int(run.run(config, tmp_path).step) == config.steps
    experiment, _ = run.restore(tmp_path)
    assert experiment.method.tokenizer.size == config.data.vocabulary_size


@pytest.mark.parametrize("name", ["config.json", "manifest.json"])
def test_a_damaged_file_of_a_run_is_named(tmp_path, name):
    run.run(debug(), tmp_path)
    (tmp_path / name).write_text("{")
    with pytest.raises(InputError, match=f"{name} is damaged"):
        run.run(debug(), tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "the config lacks data"),
        ("{}", "the config lacks data"),
        ('{"mesh": {"dat": 1}}', "mesh.dat is unknown; nearest: data"),
    ],
)
def test_what_is_no_config_is_told_with_its_file(tmp_path, text, message):
    found = json.loads(text)
    if "mesh" in found:
        found = run.plain(debug()) | found
    (tmp_path / "config.json").write_text(json.dumps(found))
    with pytest.raises(InputError, match=rf"config\.json is no config: {message}"):
        run.restore(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def get_config(:", r"makes no config: SyntaxError: .* line 1"),
        ("import nothing_of_the_kind", r"ModuleNotFoundError: .*own\.py:1\)"),
        ("", "has no function get_config"),
        ("def get_config():\n    return 1 / 0", r"ZeroDivisionError: .*own\.py:2\)"),
    ],
)
def test_a_config_file_that_makes_no_config_is_told(tmp_path, text, message):
    (tmp_path / "own.py").write_text(text)
    with pytest.raises(InputError, match=message):
        load_config(f"{tmp_path / 'own.py'}")
