"""Induction heads' claims: weights that are the network's own, and scores of heads made by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from papers import ledger
from papers.induction_heads import claims as paper
from papers.induction_heads import heads
from research.networks.transformer import Transformer
from research.networks.transformer_block import SelfAttention

ALL = {claim.id.split(".")[1]: claim for claim in paper.CLAIMS}


@pytest.mark.parametrize("positions", ["rotary", "learned", "relative"])
def test_the_weights_are_those_that_the_network_uses(positions):
    """With them the second layer's values make the output that the network made."""
    network = Transformer(vocabulary=11, length=12, width=8, layers=2, heads=2, positions=positions)
    tokens = jax.random.randint(jax.random.key(0), (3, 12), 0, 11)
    params = network.init(jax.random.key(1), tokens)["params"]
    params = jax.tree.map(lambda x: 20 * x if x.ndim > 1 else x, params)
    weights = heads.attention_weights(network, params, tokens)
    assert weights.shape == (2, 3, 2, 12, 12)
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)
    _, shown = network.apply({"params": params}, tokens, capture_intermediates=True)
    block = shown["intermediates"]["block1"]
    ((normed, _),) = block["attention_norm"]["__call__"]
    (expected,) = block["attention"]["__call__"]
    own = {"params": params["block1"]["attention"]}
    attention = SelfAttention(network.layer())
    _, _, v = attention.apply(own, normed, jnp.arange(12)[None], method="project")
    mixed = jnp.einsum("bhqk,bkhd->bqhd", weights[1], v)
    found = attention.apply(own, mixed, method="merge")
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def weights_of(look):
    """One head of queries 0..11 that gives all its weight to the key look(i)."""
    weights = np.zeros((1, 1, 1, 12, 12), np.float32)
    for query in range(12):
        weights[..., query, look(query)] = 1
    return jnp.asarray(weights)


def test_an_induction_head_looks_at_what_followed():
    period = 4
    perfect = weights_of(lambda i: max(i - period + 1, 0))
    twice_ago = weights_of(lambda i: i - 2 * period + 1 if i >= 2 * period else max(i - 3, 0))
    same_token = weights_of(lambda i: max(i - period, 0))
    itself = weights_of(lambda i: i)
    scores = [heads.prefix_matching(w, period)[0, 0] for w in (perfect, twice_ago)]
    assert scores == [1, 1]
    assert [heads.prefix_matching(w, period)[0, 0] for w in (same_token, itself)] == [0, 0]


def test_a_head_that_looks_further_on_is_told_with_its_distance():
    period = 5
    later = weights_of(lambda i: max(i - period + 3, 0))
    assert heads.prefix_matching(later, period)[0, 0] == 0
    by_distance = heads.matching_by_distance(later, period)[:, 0, 0]
    assert by_distance.shape == (period - 1,) and by_distance.max() == by_distance[3 - 1] == 1


def test_a_head_that_looks_at_all_alike():
    uniform = np.tril(np.ones((12, 12), np.float32))
    uniform /= uniform.sum(1, keepdims=True)
    found = heads.prefix_matching(jnp.asarray(uniform[None, None, None]), 4)[0, 0]
    # Queries 4..7 have one such key, 8..11 two.
    expected = np.mean([(1 + i // 8) / (i + 1) for i in range(4, 12)])
    assert found == pytest.approx(expected)
    assert heads.uniform_prefix_matching(12, 4) == pytest.approx(expected)


def test_the_in_context_score_is_of_the_last_saying_less_the_first():
    nats = np.full((2, 100), 9.0)
    nats[:, :24], nats[:, 74:99] = 4.0, 1.0
    assert paper.in_context_score(nats) == -3


def judged(claim, one, two, other):
    noises = (-0.01, 0, 0.01)
    found = [{"one_layer": one + x, "two_layers": two - x, **other} for x in noises]
    return ledger.judge(ALL[claim], found).name


def test_only_two_layers_may_have_induction_heads():
    assert judged("prefix_matching", 0.1, 0.9, {"uniform": 0.03}) == "DIRECTION HOLDS"
    assert judged("prefix_matching", 0.9, 0.9, {"uniform": 0.03}) == "FAILED"
    assert judged("prefix_matching", 0.05, 0.1, {"uniform": 0.03}) == "FAILED"
    assert judged("in_context_score", -0.9, -3, {"letters_alone": -0.94}) == "DIRECTION HOLDS"
    assert judged("in_context_score", -0.7, -0.9, {"letters_alone": -0.94}) == "FAILED"
