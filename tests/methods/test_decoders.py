"""Networks as decoding sees them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels import machine
from research.methods.decoders import decoder
from research.networks.initial import initial
from research.networks.transformer import Transformer


@pytest.mark.parametrize("scan", [False, True])
def test_a_cpu_without_bfloat16_decodes_in_float32(monkeypatch, scan):
    """No factor is rounded: logits are those of exact products, which training's are not."""
    monkeypatch.setattr(machine, "multiplies_bfloat16", lambda: False)
    shape = dict(length=9, vocabulary=7, width=16, layers=2, heads=2)
    network = Transformer(**shape, scan=scan, product_dtype="bfloat16")
    tokens = jnp.arange(6)[None]
    params = initial(network.clone(scan=False), jax.random.key(0), tokens)
    params = jax.tree.map(lambda x: x + 0.1 * jnp.sin(jnp.arange(x.size).reshape(x.shape)), params)

    seen = decoder(network)
    hidden, cache = seen.extend(params, seen.empty(1, 9), tokens, jnp.array([6]))
    assert {array.dtype for array in jax.tree.leaves(cache.layers)} == {jnp.dtype("float32")}

    def logits(network):
        hidden = network.apply({"params": params}, tokens)
        return network.apply({"params": params}, hidden, method="logits")

    ours = seen.logits(params, hidden)
    exact, rounded = (logits(Transformer(**shape, product_dtype=d)) for d in (None, "bfloat16"))
    np.testing.assert_allclose(ours, exact, rtol=1e-5, atol=1e-5)
    assert not np.allclose(ours, rounded, rtol=1e-4, atol=1e-4)
