"""The transformer: what sees what, caches that equal the whole pass, identities of its choices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.errors import InputError
from research.networks.positions import relative_buckets, rotated, sinusoids
from research.networks.transformer import Transformer, unrolled
from research.networks.transformer_block import Memory

V, LENGTH, T = 11, 16, 12
TOKENS = jax.random.randint(jax.random.key(0), (2, T), 0, V)
KINDS = {
    "gpt2": {},
    "llama": dict(
        positions="rotary", norm="rms", activation="swiglu", kv_heads=2, bias=False, tied=False
    ),
    "t5": dict(
        positions="relative", norm="rms", bias=False, activation="relu", attention_scale=1.0
    ),
    "bert": dict(norm_first=False, embedding_norm=True, types=2, head=True),
    "scanned": dict(scan=True, remat=True, positions="sinusoidal"),
}


def network(kind="gpt2", **settings):
    sizes = dict(vocabulary=V, length=LENGTH, width=16, layers=2, heads=4)
    return Transformer(**(sizes | KINDS[kind] | settings))


@functools.cache
def apply(net, method=None):
    """The network's method, compiled in a hurry: it runs a few times."""
    options = {"xla_backend_optimization_level": 0}
    named = functools.partial(net.apply, method=method)
    return jax.jit(named, static_argnames="train", compiler_options=options)


def parameters(net, *given, **named):
    """Fresh ones, moved so that none is at 0 or alike."""

    def through(net, *given, **named):
        return net.logits(net(*given, **named))

    init = functools.partial(net.init, method=through)
    params = jax.jit(init)(jax.random.key(1), *given, **named)["params"]
    leaves, tree = jax.tree.flatten(params)
    rngs = jax.random.split(jax.random.key(2), len(leaves))
    noise = [0.3 * jax.random.normal(r, x.shape) for r, x in zip(rngs, leaves, strict=True)]
    return jax.tree.map(jnp.add, params, tree.unflatten(noise))


def close(ours, truth):
    np.testing.assert_allclose(ours, truth, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_cached_decoding_is_the_whole_pass(kind):
    """Rows of different lengths, appended many at once, some and none, then one by one."""
    net = network(kind)
    params = parameters(net, TOKENS)
    whole = apply(net)({"params": params}, TOKENS)
    one_by_one, given = net.clone(scan=False), {"params": unrolled(params)}
    cache = one_by_one.empty_cache(2, LENGTH)
    done = np.zeros(2, int)
    for counts, width in (((5, 3), 6), ((0, 2), 2), ((1, 1), 1), ((3, 4), 4), ((1, 1), 1)):
        rows = [TOKENS[b, done[b] : done[b] + n] for b, n in enumerate(counts)]
        padded = jnp.stack([jnp.pad(r, (0, width - len(r)), constant_values=7) for r in rows])
        call = padded, jnp.array(counts), cache
        hidden, cache = apply(one_by_one, "decode")(given, *call)
        for b, n in enumerate(counts):
            close(hidden[b, :n], whole[b, done[b] : done[b] + n])
        done += counts
    np.testing.assert_array_equal(cache.lengths_B, done)


def test_a_cache_holds_factors_of_the_products():
    """In bfloat16, as what a token reads of it is multiplied; hidden states stay float32."""
    net = network("gpt2", product_dtype=jnp.bfloat16)
    given = {"params": parameters(net, TOKENS)}
    cache, found = net.empty_cache(2, LENGTH), []
    assert all(array.dtype == jnp.bfloat16 for array in jax.tree.leaves(cache.layers))
    for t in range(TOKENS.shape[1]):
        call = TOKENS[:, t : t + 1], jnp.ones(2, jnp.int32), cache
        hidden, cache = apply(net, "decode")(given, *call)
        found.append(hidden[:, 0])
    assert found[0].dtype == jnp.float32
    whole = apply(net)(given, TOKENS)
    np.testing.assert_allclose(jnp.stack(found, 1), whole, atol=0.03 * np.abs(whole).max())


@pytest.mark.parametrize("kind", KINDS)
def test_a_decoder_sees_nothing_that_comes_after(kind):
    net = network(kind)
    params = parameters(net, TOKENS)

    def seen(causal, place):
        one_by_one = net.clone(causal=causal)
        table = params["tokens"]

        def out(moves):
            given = {"params": params | {"tokens": table + moves}}
            return jnp.sum(one_by_one.apply(given, jnp.arange(V)[None])[0, place])

        gradient = jax.jit(jax.grad(out))(jnp.zeros_like(table))
        return np.flatnonzero(np.abs(gradient).sum(axis=1))

    np.testing.assert_array_equal(seen(True, 4), range(5))
    np.testing.assert_array_equal(seen(False, 4), range(V))


@pytest.mark.parametrize("kind", ["gpt2", "llama", "t5"])
def test_packed_documents_do_not_meet(kind):
    """Each of two documents in a row gives what it gives alone, and leaks exactly 0."""
    net = network(kind)
    params = {"params": parameters(net, TOKENS)}
    segments = jnp.array([[1] * 5 + [2] * 7])
    positions = jnp.array([[*range(5), *range(7)]])
    packed = apply(net)(params, TOKENS[:1], positions, segments)
    close(packed[:, :5], apply(net)(params, TOKENS[:1, :5]))
    close(packed[:, 5:], apply(net)(params, TOKENS[:1, 5:]))
    moved = TOKENS.at[0, 2].set((TOKENS[0, 2] + 1) % V)[:1]
    other = apply(net)(params, moved, positions, segments)
    np.testing.assert_array_equal(other[:, 5:], packed[:, 5:])
    assert not np.array_equal(other[:, :5], packed[:, :5])


def test_scanned_layers_are_layers_one_by_one():
    scanned = network("scanned")
    params = parameters(scanned, TOKENS)
    alone = scanned.clone(scan=False, remat=False)
    close(
        apply(alone)({"params": unrolled(params)}, TOKENS),
        apply(scanned)({"params": params}, TOKENS),
    )


def test_a_decoder_reads_an_encoders_output_within_its_length():
    net = network("t5", cross=True)
    memory = Memory(jax.random.normal(jax.random.key(5), (2, 6, 16)), jnp.array([6, 4]))
    params = {"params": parameters(net, TOKENS, memory=memory)}
    whole = apply(net)(params, TOKENS, memory=memory)
    hidden, lengths = memory.hidden_BxSxD, memory.lengths_B
    beyond = Memory(hidden.at[1, 4:].set(9.0), lengths)
    np.testing.assert_array_equal(apply(net)(params, TOKENS, memory=beyond), whole)
    assert not np.allclose(apply(net)(params, TOKENS, memory=Memory(hidden, lengths - 1)), whole)

    cache = apply(net, "remember")(params, net.empty_cache(2, LENGTH), memory)
    for t in range(T):
        hidden, cache = apply(net, "decode")(params, TOKENS[:, t : t + 1], jnp.ones(2, int), cache)
        close(hidden[:, 0], whole[:, t])


def test_dropout_is_of_training_alone():
    net = network(dropout=0.5)
    params = {"params": parameters(net, TOKENS)}
    runs = [
        apply(net)(params, TOKENS, train=True, rngs={"dropout": jax.random.key(i)}) for i in (0, 1)
    ]
    assert not np.allclose(*runs)
    np.testing.assert_array_equal(apply(net)(params, TOKENS), apply(network())(params, TOKENS))


def test_products_of_bfloat16_are_near_and_their_gradients_float32():
    net = network()
    params = parameters(net, TOKENS)

    def loss(params, net):
        return jnp.mean(jnp.square(net.apply({"params": params}, TOKENS)))

    gradient = jax.jit(jax.grad(loss), static_argnums=1)
    exact, ours = (gradient(params, net.clone(product_dtype=d)) for d in (None, "bfloat16"))
    for a, b in zip(jax.tree.leaves(exact), jax.tree.leaves(ours), strict=True):
        assert b.dtype == jnp.float32
        assert np.abs(a - b).max() <= 0.05 * np.abs(a).max()


def test_rotations_tell_distance_alone():
    q, k = jax.random.normal(jax.random.key(3), (2, 1, 1, 1, 8))
    at = [jnp.array([[n]]) for n in (3, 7, 103, 107)]
    near, far = (jnp.vdot(rotated(q, at[i]), rotated(k, at[j])) for i, j in ((0, 1), (2, 3)))
    np.testing.assert_allclose(near, far, rtol=1e-4)
    np.testing.assert_allclose(jnp.linalg.norm(rotated(q, at[3])), jnp.linalg.norm(q), rtol=1e-5)
    with pytest.raises(InputError, match="even head size, it is 3"):
        rotated(q[..., :3], at[0])


def test_sinusoids_are_the_papers():
    table = sinusoids(50, 6)
    np.testing.assert_allclose(table[7, 2], np.sin(7 / 10000 ** (2 / 6)), rtol=1e-5)
    np.testing.assert_allclose(table[7, 3], np.cos(7 / 10000 ** (2 / 6)), rtol=1e-5)


def test_relative_buckets_are_t5s():
    """Exact to 7 (15 of a decoder), all of 128 and more in the last, keys after in the upper."""
    distance = jnp.array([0, -1, -7, -8, -127, -128, -5000, 1, 7, 5000])
    both = relative_buckets(distance, buckets=32, furthest=128, causal=False)
    np.testing.assert_array_equal(both, [0, 1, 7, 8, 15, 15, 15, 17, 23, 31])
    before = relative_buckets(distance, buckets=32, furthest=128, causal=True)
    np.testing.assert_array_equal(before, [0, 1, 7, 8, 31, 31, 31, 0, 0, 0])
    steps = relative_buckets(-jnp.arange(300), buckets=32, furthest=128, causal=True)
    assert np.all(np.diff(steps) >= 0) and set(np.asarray(steps).tolist()) == set(range(32))
    for buckets, furthest in ((1, 128), (32, 16), (32, 8)):
        with pytest.raises(InputError, match="buckets of exact distances"):
            relative_buckets(distance, buckets=buckets, furthest=furthest, causal=True)


BAD = {
    "17 tokens do not fit the context of 16": dict(tokens=jnp.zeros((1, 17), int)),
    "no positions 'learnt'; nearest: learned": dict(positions="learnt"),
    "no norm 'batch'": dict(norm="batch"),
    "heads is 0; 1 is the least": dict(heads=0),
    "layers is 0; 1 is the least": dict(layers=0),
    "layers is -1; 1 is the least": dict(layers=-1),
    "kv_heads=3 does not divide heads=": dict(kv_heads=3),
    "width=1 is not divided by heads=": dict(width=1),
    "20 outputs need tied=False": dict(outputs=20, tied=True),
    "1 buckets of exact distances must be 1 at least": dict(
        positions="relative", relative_buckets=2, relative_furthest=1
    ),
    "no activation 'swigloo'; nearest: swiglu": dict(activation="swigloo"),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_settings_are_one_line(message):
    settings = dict(BAD[message])
    tokens = settings.pop("tokens", TOKENS)
    with pytest.raises(InputError, match=message):
        network(**settings).init(jax.random.key(0), tokens)
