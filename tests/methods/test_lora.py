"""LoRA: starts at the base, is its merged weights, moves adapters alone; numbers as the formula."""

import dataclasses
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from ml_collections import ConfigDict

from research.configuration import load_config
from research.errors import InputError
from research.experiment import build
from research.methods.lora import LoRA, count, merge, split
from research.networks.transformer_block import Linear
from research.training.method import LatentVariable, TextRanker, TextWriter
from research.training.optimizers import averaged
from tests.methods.sentences import batch_of, classifier

QKV = dict(adapted="qkv/kernel$", trained="^head")


@pytest.fixture(scope="module")
def started():
    method = LoRA(method=classifier(ema_decay=0.5), rank=2, alpha=6.0, **QKV)
    return method, jax.jit(method.init)(jax.random.key(0), batch_of())


def drawn(tree, seed=1):
    """Numbers of the tree's shapes: adapters in which B is no longer zero."""
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    new = [jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(structure, new)


def test_it_starts_exactly_at_the_base(started):
    method, state = started
    inner = classifier()
    params = jax.jit(inner.init)(jax.random.key(0), batch_of()).params["model"]
    merged = method.merged(state).params["model"]
    jax.tree.map(np.testing.assert_array_equal, merged, params)
    assert (
        state.params["adapters"]["encoder"]["block0"]["attention"]["qkv"]["kernel"].a != 0
    ).all()


def test_merged_weights_are_a_branch_beside_the_kernel(started):
    """h = x W + (alpha / r) x A B, computed as two branches, in every adapted layer."""
    method, state = started
    adapters, batch = drawn(state.params["adapters"]), batch_of()
    merged = method.with_merged(state, adapters).params["model"]["encoder"]

    def branch(inner, arguments, options, context):
        out, path = inner(*arguments, **options), context.module.path
        if isinstance(context.module, Linear) and path[-1] == "qkv":
            own = adapters["encoder"][path[0]][path[1]][path[2]]["kernel"]
            out += 6.0 / 2 * (arguments[0] @ own.a @ own.b)
        return out

    given = (batch["tokens"], None, batch["segments"])
    apply = classifier().network.apply
    base = {"params": state.params["base"]["encoder"]}
    with nn.intercept_methods(branch):
        expected = jax.jit(lambda params: apply(params, *given))(base)
    plain = jax.jit(lambda params: apply(params, *given))
    np.testing.assert_allclose(plain({"params": merged}), expected, atol=1e-4)
    assert np.abs(plain(base) - expected).max() > 0.1


def test_adapters_alone_are_learned(started):
    method, state = started
    batch, step = batch_of(), jax.jit(method.step)
    # Adam's two moments of the adapters, their average, and a count or three.
    assert 0 < count(state.opt_state) - 3 * count(state.params["adapters"]) <= 3
    before = state
    for index in range(60):
        state, _ = step(state, batch, jax.random.key(index))
    jax.tree.map(np.testing.assert_array_equal, before.params["base"], state.params["base"])
    moved = jax.tree.map(lambda x, y: bool((x != y).any()), before.params, state.params)
    assert all(jax.tree.leaves(moved["adapters"]))
    average = averaged(state, "adapters")
    jax.tree.map(
        np.testing.assert_array_equal,
        method.merged(state).params,
        method.with_merged(state, average).params,
    )
    evaluate = jax.jit(method.evaluate)
    first, last = (evaluate(s, batch, jax.random.key(0))["accuracy"] for s in (before, state))
    assert last.mean() > 0.8 > first.mean()
    # What is shown is by the merged weights too.
    answers = method.sample(state, jax.random.key(0), count=16, batch=batch)
    np.testing.assert_array_equal(answers["predictions"] == answers["labels"], last)


@pytest.mark.parametrize("rank", [1, 3])
def test_a_kernel_of_inputs_and_outputs_has_rank_times_their_sum(rank):
    """The paper's 2 x layers x width x rank, of kernels width x width (section 4.2)."""
    params = {f"layer{i}": {"kernel": jnp.ones((8, 8)), "bias": jnp.ones(8)} for i in range(5)}
    base, adapters = split(params, jax.random.key(0), rank=rank, adapted="kernel$", trained=None)
    assert count(adapters) == 2 * 5 * 8 * rank
    assert count(base) == count(params)
    first, second = (np.asarray(adapters[f"layer{i}"]["kernel"].a) for i in (0, 1))
    assert (first != second).all()


def test_scanned_layers_have_adapters_of_their_own():
    kernels = jax.random.normal(jax.random.key(0), (3, 4, 6))
    params = {"blocks": {"kernel": kernels}}
    base, adapters = split(params, jax.random.key(0), rank=2, adapted="kernel$", trained=None)
    own = drawn(adapters)
    merged = merge(base, own, scale=0.5)["blocks"]["kernel"]
    factors = own["blocks"]["kernel"]
    for layer in range(3):
        expected = kernels[layer] + 0.5 * factors.a[layer] @ factors.b[layer]
        np.testing.assert_allclose(merged[layer], expected, rtol=1e-5, atol=1e-6)


def test_a_probe_learns_what_is_trained_whole():
    method = LoRA(method=classifier(), adapted=None, trained="^head")
    params = jax.eval_shape(method.init, jax.random.key(0), batch_of()).params
    assert count(params["adapters"]) == 8 * 3 + 3
    assert "head" not in params["base"]


def test_a_language_model_has_adapters_too():
    """Its section of the config is enough, and its samples take its own options."""
    config = load_config("configs/gpt.py:shakespeare_char_debug")
    config.lora = ConfigDict(dict(rank=2, adapted="(qkv|up)/kernel$"))
    experiment = build(config)
    layout, inner = experiment.layout(), experiment.method.method
    assert count(layout.params["adapters"]) == 2 * 2 * (16 + 3 * 16 + 16 + 4 * 16)
    after, metrics = jax.eval_shape(
        experiment.method.step, layout, experiment.example(), jax.random.key(0)
    )
    assert jax.tree.structure(after) == jax.tree.structure(layout)
    assert "adapters/accuracy" in metrics
    assert inspect.signature(experiment.method.sample) == inspect.signature(inner.sample)


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("gpt.py:shakespeare_char", {TextWriter, TextRanker}),
        ("bert.py:shakespeare", {TextWriter}),
        ("vae.py:digits", {LatentVariable}),
        ("classifier.py:digits", set()),
    ],
)
def test_it_is_what_its_method_is(name, kinds):
    config = load_config(f"configs/{name}_debug")
    config.lora = ConfigDict(dict(rank=2, adapted=None, trained="."))
    method = build(config).method
    assert {k for k in (TextWriter, TextRanker, LatentVariable) if isinstance(method, k)} == kinds


def test_a_group_of_no_parameters_stays():
    """A Bernoulli likelihood has none."""
    config = load_config("configs/vae.py:mnist_debug")
    config.lora = ConfigDict(dict(rank=2))
    experiment = build(config)
    method, batch = experiment.method, experiment.example()
    state = jax.jit(method.init)(jax.random.key(0), batch)
    state, metrics = jax.jit(method.step)(state, batch, jax.random.key(1))
    assert np.isfinite(metrics["adapters/loss"])
    assert method.merged(state).params["model"]["likelihood"] == {}


def test_adapted_texts_are_written_ranked_and_streamed_as_by_the_merged_model():
    config = load_config("configs/gpt.py:shakespeare_char_debug")
    config.lora = ConfigDict(dict(rank=2, adapted="qkv/kernel$"))
    experiment = build(config)
    method, inner = experiment.method, experiment.method.method
    state = jax.jit(method.init)(jax.random.key(0), experiment.example())
    adapters = drawn(state.params["adapters"])
    state = dataclasses.replace(state, params=state.params | {"adapters": adapters})
    merged, rng = method.merged(state), jax.random.key(1)
    asked = dict(prompt="to be", new_tokens=8, strategy="greedy")
    assert "".join(method.stream(state, rng, **asked)) == "".join(
        inner.stream(merged, rng, **asked)
    )
    base = dataclasses.replace(merged, params={"model": state.params["base"]})
    texts = [("to be", " or not")]
    assert inner.log_likelihoods(base, texts) != inner.log_likelihoods(merged, texts)
    assert method.log_likelihoods(state, texts) == inner.log_likelihoods(merged, texts)


def test_a_method_whose_steps_are_its_own():
    config = load_config("configs/ppo.py:cartpole_debug")
    config.lora = ConfigDict(dict(rank=2))
    with pytest.raises(InputError, match="lora adapts methods that learn by gradients"):
        build(config).layout()


def test_a_method_of_several_players():
    config = load_config("configs/gan.py:ring_debug")
    config.lora = ConfigDict(dict(rank=2))
    with pytest.raises(InputError, match=r"lora adapts the one group 'model', the method has \["):
        build(config).layout()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(adapted="qvk"), "lora.adapted='qvk' matches no parameter; there are encoder/block0"),
        (dict(adapted="qkv/bias"), "qkv/bias, which is no kernel"),
        (dict(adapted="kernel$", trained="^head"), "head/kernel matches both"),
        (dict(rank=0), "lora.rank is 0; 1 is the least"),
        (dict(alpha=0.0), r"lora.alpha is 0\.0; it must be above 0"),
        (dict(adapted=None), "lora learns nothing: lora.adapted or lora.trained must be a pattern"),
        (dict(adapted="kernel("), r"lora.adapted: 'kernel\(' is no regular expression"),
        (dict(trained="*"), r"lora.trained: '\*' is no regular expression"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(InputError, match=message):
        jax.eval_shape(LoRA(method=classifier(), **options).init, jax.random.key(0), batch_of())
