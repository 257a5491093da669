"""The encoder-decoder: caches that equal the whole pass, what is read, and copies by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.networks.encoder_decoder import EncoderDecoder, by_token, copy_weights
from research.networks.transformer import unrolled

V, S, T = 13, 7, 6
INPUTS = jax.random.randint(jax.random.key(0), (2, S), 0, V)
LENGTHS = jnp.array([7, 4])
TARGETS = jax.random.randint(jax.random.key(1), (2, T), 0, V)
HURRY = {"xla_backend_optimization_level": 0}
KINDS = {"t5": {}, "copying": dict(copies=True, positions="learned"), "untied": dict(tied=False)}


def through(net, inputs, lengths, targets):
    return net.logits(net(targets, net.encode(inputs, lengths)))


@functools.cache
def made(kind):
    """A network, its parameters, moved so that none is 0, and its compiled logits."""
    sizes = dict(vocabulary=V, input_length=S, target_length=T, width=8, heads=2, hidden=12)
    net = EncoderDecoder(**(sizes | KINDS[kind]))
    init = functools.partial(net.init, method=through)
    params = jax.jit(init)(jax.random.key(2), INPUTS, LENGTHS, TARGETS)
    leaves, tree = jax.tree.flatten(params)
    rngs = jax.random.split(jax.random.key(3), len(leaves))
    noise = [0.5 * jax.random.normal(r, x.shape) for r, x in zip(rngs, leaves, strict=True)]
    apply = jax.jit(functools.partial(net.apply, method=through), compiler_options=HURRY)
    return net, jax.tree.map(jnp.add, params, tree.unflatten(noise)), apply


@pytest.mark.parametrize("kind", KINDS)
def test_cached_decoding_is_the_whole_pass(kind):
    """Row by row of an encoded source, taken in another order, with what is read made once."""
    net, params, apply = made(kind)
    whole = apply(params, INPUTS, LENGTHS, TARGETS)
    order = jnp.array([1, 0, 1])

    def decoded(params):
        source = net.apply(params, INPUTS, LENGTHS, method=lambda n, *g: n.remember(n.encode(*g)))
        cache = net.apply({}, 2, T, method="empty_cache")
        cache = jax.tree.map(lambda array: array[order], cache)
        found = []
        for first, last in ((0, 3), (3, 4), (4, 6)):
            call = TARGETS[order, first:last], jnp.full(3, last - first), cache, source
            hidden, cache = net.apply(params, *call, method="decode")
            found.append(net.apply(params, hidden, method="logits"))
        return jnp.concatenate(found, axis=1)

    ours = jax.jit(decoded, compiler_options=HURRY)(params)
    np.testing.assert_allclose(ours, whole[order], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_and_what_is_not(kind):
    """Every token of an input counts, what lies beyond its length doesn't, nor later targets."""
    _, params, apply = made(kind)
    whole = apply(params, INPUTS, LENGTHS, TARGETS)
    beyond = INPUTS.at[1, 4:].set((INPUTS[1, 4:] + 1) % V)
    np.testing.assert_array_equal(apply(params, beyond, LENGTHS, TARGETS), whole)
    for place in (0, 3):
        moved = INPUTS.at[1, place].set((INPUTS[1, place] + 1) % V)
        other = apply(params, moved, LENGTHS, TARGETS)
        np.testing.assert_array_equal(other[0], whole[0])
        assert not np.allclose(other[1, 0], whole[1, 0], atol=1e-3)
    later = TARGETS.at[:, 3].set((TARGETS[:, 3] + 1) % V)
    other = apply(params, INPUTS, LENGTHS, later)
    np.testing.assert_array_equal(other[:, :3], whole[:, :3])
    assert not np.allclose(other[:, 3], whole[:, 3], atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_targets_likelihood_is_that_of_its_logits(kind):
    """Of targets that stand once, twice and not at all in the input."""
    net, params, apply = made(kind)
    targets = jnp.stack([INPUTS[0, :T], jnp.arange(T)])
    log_probs = jax.nn.log_softmax(apply(params, INPUTS, LENGTHS, TARGETS))

    def likelihood(net):
        return net.log_likelihood(TARGETS, targets, net.encode(INPUTS, LENGTHS))

    ours = jax.jit(functools.partial(net.apply, method=likelihood))(params)
    expected = jnp.take_along_axis(log_probs, targets[..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)


def test_a_copy_is_a_mixture_over_the_inputs_tokens():
    """p = g p_vocabulary + (1 - g) sum of the weights where the token stands (1704.04368, eq. 9).

    The weights are the only part that can differ between tokens of the input, so a chance that
    is left when g is 0 is theirs.
    """
    _, params, apply = made("copying")
    np.testing.assert_allclose(
        jax.nn.logsumexp(apply(params, INPUTS, LENGTHS, TARGETS), axis=-1), 0, atol=1e-5
    )
    shut = jax.tree.map(jnp.copy, params)
    shut["params"]["generates"] = {"kernel": jnp.zeros((8, 1)), "bias": jnp.full(1, -30.0)}
    probs = np.exp(apply(shut, INPUTS, LENGTHS, TARGETS))
    for row, length in enumerate(LENGTHS):
        inside = np.isin(np.arange(V), INPUTS[row, :length])
        np.testing.assert_allclose(probs[row][:, inside].sum(axis=-1), 1, rtol=1e-5)
        assert probs[row][:, ~inside].max() < 1e-6


def test_weights_of_a_token_add_up_and_padding_has_none():
    queries, keys = jax.random.normal(jax.random.key(4), (2, 2, S, 4))
    weights = copy_weights(queries[:, :3], keys, LENGTHS)
    np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=1e-6)
    assert np.all(np.asarray(weights[1, :, 4:]) == 0) and np.all(np.asarray(weights[1, :, :4]) > 0)
    scores = np.asarray(queries[0, :3] @ keys[0].T) / 2
    exact = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(weights[0], exact, rtol=1e-5)
    summed = by_token(weights, INPUTS, vocabulary=V)
    one_hot = np.eye(V)[np.asarray(INPUTS)]
    np.testing.assert_allclose(summed, np.asarray(weights) @ one_hot, rtol=1e-5, atol=1e-7)


def test_scanned_layers_are_layers_one_by_one():
    net, params, apply = made("t5")
    scanned = net.clone(scan=True)
    init = functools.partial(scanned.init, method=through)
    params = jax.jit(init)(jax.random.key(2), INPUTS, LENGTHS, TARGETS)["params"]
    whole = jax.jit(functools.partial(scanned.apply, method=through), compiler_options=HURRY)
    np.testing.assert_allclose(
        apply({"params": unrolled(params)}, INPUTS, LENGTHS, TARGETS),
        whole({"params": params}, INPUTS, LENGTHS, TARGETS),
        rtol=1e-5,
        atol=1e-5,
    )


def test_an_encoder_has_no_logits_of_its_own():
    """All that is learned moves the likelihood."""
    net, params, _ = made("untied")

    def likelihood(params):
        def total(net):
            return net.log_likelihood(TARGETS, TARGETS, net.encode(INPUTS, LENGTHS)).sum()

        return net.apply(params, method=total)

    slopes = jax.jit(jax.grad(likelihood), compiler_options=HURRY)(params)
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(slopes))


def test_copies_in_bfloat16_are_summed_in_float32():
    net, params, apply = made("copying")
    low = net.clone(dtype=jnp.bfloat16)
    found = low.apply(params, INPUTS, LENGTHS, TARGETS, method=through)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(jnp.exp(found).sum(axis=-1), 1, atol=1e-5)
    np.testing.assert_allclose(found, apply(params, INPUTS, LENGTHS, TARGETS), atol=0.2)
