"""Recurrent networks and temporal convolutions: causal, cached, packed, equal to other forms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from research.errors import InputError
from research.networks.recurrence import CELLS, Weights, recurrence, step
from research.networks.recurrent import Recurrent
from research.networks.temporal_convolution import TCN, by_convolution, by_product

TOKENS = jnp.asarray(np.random.default_rng(0).integers(11, size=(3, 24)))
NETWORKS = {
    "lstm": Recurrent("lstm", width=6, layers=2, vocabulary=11),
    "gru": Recurrent("gru", width=6, vocabulary=11),
    "tcn": TCN(width=6, levels=2, kernel_size=4, vocabulary=11),
}
VECTORS = {
    **{cell: Recurrent(cell, width=5, outputs=1) for cell in CELLS},
    "tcn": TCN(width=5, levels=2, kernel_size=2, outputs=1),
}


def started(network, inputs):
    """Parameters, and the network's methods, each compiled once."""
    # What runs once is not worth compiling well.
    fast = {"xla_backend_optimization_level": 0}
    through = functools.partial(network.init, method=lambda self, x: self.logits(self(x)))
    params = jax.jit(through, compiler_options=fast)(jax.random.key(0), inputs)

    @functools.cache
    def compiled(method, **options):
        call = functools.partial(network.apply, method=method, **options)
        return jax.jit(call, compiler_options=fast)

    def run(*inputs, method="__call__", params=params, rngs=None, **options):
        return compiled(method, **options)(params, *inputs, rngs=rngs)

    return params, run


@functools.cache
def of_tokens(name):
    return started(NETWORKS[name], TOKENS)


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def close(a, b, error=1e-5):
    np.testing.assert_allclose(a, b, atol=error, rtol=error)


@pytest.mark.parametrize("name", VECTORS)
def test_an_output_has_no_gradient_to_later_inputs(name):
    network, inputs = VECTORS[name], normal(1, 12, 2, seed=2)
    params, _ = started(network, inputs)

    def outputs(inputs):
        return network.apply(params, inputs).sum(-1)[0]

    jacobian = np.abs(jax.jit(jax.jacrev(outputs))(inputs)[:, 0]).sum(-1)
    assert not np.triu(jacobian, 1).any()
    assert np.diag(jacobian).all()


@pytest.mark.parametrize(("levels", "taps"), [(1, 4), (3, 2)])
def test_the_receptive_field_is_exact(levels, taps):
    network = TCN(width=8, levels=levels, kernel_size=taps, outputs=1)
    field = network.receptive_field()
    assert field == 1 + sum(2 * (taps - 1) * 2**level for level in range(levels))
    inputs = normal(4, field + 5, 1, seed=2)
    params, _ = started(network, inputs)
    last = lambda inputs: network.apply(params, inputs)[:, -1].sum()  # noqa: E731
    reached = np.abs(jax.jit(jax.grad(last))(inputs)).sum((0, 2)) > 0
    assert not reached[:5].any()
    assert reached[5]


@pytest.mark.parametrize("name", NETWORKS)
def test_cached_steps_equal_the_full_pass(name):
    network = NETWORKS[name]
    _, run = of_tokens(name)
    full, cache = run(TOKENS), network.empty_cache(3, 24)
    ones = jnp.ones(3, jnp.int32)
    for t in range(TOKENS.shape[1]):
        hidden, cache = run(TOKENS[:, t : t + 1], ones, cache, method="decode")
        close(hidden[:, 0], full[:, t])


@pytest.mark.parametrize("name", NETWORKS)
def test_a_right_padded_prompt_leaves_no_trace_in_the_cache(name):
    """Rows of 4, 7 and 1 tokens, padded to 7; rows are reordered as beams are; then all go on."""
    network, counts = NETWORKS[name], jnp.array([4, 7, 1])
    order, (_, run) = jnp.array([2, 0, 1]), of_tokens(name)
    full = run(TOKENS)
    hidden, cache = run(TOKENS[:, :7], counts, network.empty_cache(3, 24), method="decode")
    close(hidden[jnp.arange(3), counts - 1], full[jnp.arange(3), counts - 1])
    cache = jax.tree.map(lambda rows: rows[order], cache)
    places = (counts[:, None] + jnp.arange(3))[order]
    going_on = jnp.take_along_axis(TOKENS[order], places, axis=1)
    hidden, _ = run(going_on, jnp.full(3, 3), cache, method="decode")
    close(hidden, jnp.take_along_axis(full[order], places[..., None], axis=1))


@pytest.mark.parametrize("name", NETWORKS)
def test_packed_sequences_do_not_touch(name):
    """Two sequences of 12 in a row have the hidden states they have alone."""
    _, run = of_tokens(name)
    segments = jnp.tile(jnp.repeat(jnp.array([1, 2]), 12), (3, 1))
    packed = run(TOKENS, None, segments)
    alone = run(jnp.concatenate([TOKENS[:, :12], TOKENS[:, 12:]]))
    close(packed, jnp.concatenate([alone[:3], alone[3:]], axis=1), 1e-6)
    changed = run(TOKENS.at[:, :12].set(0), None, segments)
    np.testing.assert_array_equal(packed[:, 12:], changed[:, 12:])


@pytest.mark.parametrize(
    ("cell", "segmented"), [("rnn", False), ("lstm", False), ("lstm", True), ("gru", True)]
)
def test_the_gradient_by_chunks_is_that_of_a_plain_scan(cell, segmented):
    """40 steps are five chunks; segmented, a state begins anew at one's end and within another."""
    rng, made, width = np.random.default_rng(3), CELLS[cell], 4
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)  # noqa: E731
    gates = made.gates * width
    weights = Weights(draw(3, gates), draw(width, gates), draw(gates), draw(gates))
    inputs, state = draw(40, 2, 3), tuple(draw(2, width) for _ in range(made.states))
    keep = jnp.ones((40, 2, 1)).at[jnp.array([7, 29])].set(0) if segmented else None
    weigh = draw(40, 2, width)

    def plain(weights, inputs, state):
        def one(state, x):
            inputs, keep = x
            before = state if keep is None else tuple(part * keep for part in state)
            after = step(made, weights, inputs, before)
            return after, after[0]

        return jnp.sum(weigh * jax.lax.scan(one, state, (inputs, keep))[1])

    def chunked(weights, inputs, state):
        return jnp.sum(weigh * recurrence(made, weights, inputs, state, keep))

    arguments = (weights, inputs, state)
    found = jax.jit(jax.value_and_grad(chunked, (0, 1, 2)))(*arguments)
    expected = jax.jit(jax.value_and_grad(plain, (0, 1, 2)))(*arguments)
    jax.tree.map(lambda a, b: close(a, b, 1e-4), found, expected)


def test_the_lstm_and_the_gru_are_flaxs_own():
    inputs = normal(2, 9, 3, seed=2)
    for name, cell, inner, outer in (
        ("lstm", nn.OptimizedLSTMCell(5), ["ii", "if", "ig", "io"], ["hi", "hf", "hg", "ho"]),
        ("gru", nn.GRUCell(5), ["ir", "iz", "in"], ["hr", "hz", "hn"]),
    ):
        theirs = nn.RNN(cell)
        network = Recurrent(name, width=5, outputs=1)
        params, run = started(network, inputs)
        own, width = params["params"]["layer_0"], len(inner)
        halves = {
            gate: {"kernel": kernel, "bias": bias}
            for side, gates in (("input", inner), ("recurrent", outer))
            for gate, kernel, bias in zip(
                gates,
                jnp.split(own[f"{side}_kernel"], width, 1),
                jnp.split(own[f"{side}_bias"], width),
                strict=True,
            )
        }
        for here, there in zip(inner, outer, strict=True):
            # Flax has one bias where the two are only ever added.
            one, other = ({**halves[gate]} for gate in (here, there))
            if name == "lstm":
                del one["bias"]
                other["bias"] = other["bias"] + halves[here]["bias"]
            elif here != "in":
                one["bias"] = one["bias"] + other.pop("bias")
            halves[here], halves[there] = one, other
        close(run(inputs), jax.jit(theirs.apply)({"params": {"cell": halves}}, inputs), 1e-6)


def test_a_forget_bias_starts_one_higher():
    params = started(Recurrent("lstm", width=50, outputs=1), jnp.zeros((1, 2, 1)))[0]["params"]
    i, f, g, o = jnp.split(params["layer_0"]["input_bias"], 4)
    assert abs(f.mean() - 1) < 0.05
    assert all(abs(bias.mean()) < 0.05 for bias in (i, g, o))


@pytest.mark.parametrize("steps", [6, 31])
def test_the_last_step_by_its_dependencies_alone_is_the_full_passs(steps):
    network = TCN(width=5, levels=3, kernel_size=3, outputs=1)
    inputs = normal(2, steps, 2, seed=2)
    _, run = started(network, inputs)
    close(run(inputs, method="last"), run(inputs)[:, -1], 1e-6)


@pytest.mark.parametrize(("dilation", "stride"), [(1, 1), (4, 1), (1, 2), (2, 3)])
def test_a_product_of_taps_is_xlas_convolution(dilation, stride):
    padded = normal(3, 20, 2, seed=4)
    kernel = normal(4, 3, 5, seed=5)
    forms = [
        jax.jit(functools.partial(form, dilation=dilation, stride=stride))(padded, kernel)
        for form in (by_product, by_convolution)
    ]
    close(*forms)


def test_a_convolution_is_normalised_by_weight():
    """Its kernel's length is no matter, and per output it is the scale."""
    inputs = normal(1, 30, 2, seed=2)
    network = TCN(width=4, levels=1, kernel_size=2, outputs=1)
    params, run = started(network, inputs)
    params = params["params"]
    first = params["block_0"]["first"]
    close(first["scale"], jnp.linalg.norm(first["kernel"].reshape(-1, 4), axis=0))
    longer = {**params, "block_0": {**params["block_0"], "first": {**first}}}
    longer["block_0"]["first"]["kernel"] = 7 * first["kernel"]
    close(run(inputs, params={"params": longer}), run(inputs), 1e-6)


@pytest.mark.parametrize("name", ["gru", "tcn"])
def test_dropout_is_of_training_alone(name):
    _, run = started(NETWORKS[name].clone(dropout=0.5), TOKENS)
    rngs = [{"dropout": jax.random.key(seed)} for seed in (0, 1)]
    assert not np.allclose(*[run(TOKENS, train=True, rngs=rng) for rng in rngs])
    close(run(TOKENS), of_tokens(name)[1](TOKENS), 0)


def test_logits_are_float32_and_of_the_vocabulary():
    for name in ("gru", "tcn"):
        logits = of_tokens(name)[1](jnp.ones((3, 6)), method="logits")
        assert logits.shape == (3, 11)
        assert logits.dtype == jnp.float32


def test_an_unknown_cell_offers_the_nearest():
    with pytest.raises(InputError, match="no cell 'lsmt'; nearest: lstm"):
        started(Recurrent("lsmt", outputs=1), jnp.zeros((1, 2, 1)))


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("lstm", "width"),
        ("gru", "layers"),
        *(("tcn", s) for s in ("width", "levels", "kernel_size")),
    ],
)
def test_a_size_of_0_is_named(name, size):
    with pytest.raises(InputError, match=f"{size} is 0; 1 is the least"):
        started(NETWORKS[name].clone(**{size: 0}), TOKENS)
