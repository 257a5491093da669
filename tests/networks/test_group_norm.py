"""Group norm: flax's and its gradient, what is fused into it, far from 0, and in bfloat16."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from research.networks.group_norm import GroupNorm, group_norm


def drawn(*shape, seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


def flax_norm(x, scale, bias, groups, silu):
    """Flax's own norm, then the scale and bias of each example, and silu."""
    module = nn.GroupNorm(groups, use_fast_variance=False, use_bias=False, use_scale=False)
    y = module.apply({}, x) * scale[:, None, None] + bias[:, None, None]
    return nn.silu(y) if silu else y


def value_and_gradients(norm, *arrays, **settings):
    out, pull = jax.vjp(lambda *moved: norm(*moved, *settings.values()), *arrays)
    return [out, *pull(jnp.cos(jnp.arange(out.size)).reshape(out.shape).astype(out.dtype))]


@pytest.mark.parametrize("silu", [False, True])
@pytest.mark.parametrize(
    ("shape", "groups"), [((2, 5, 3, 12), 3), ((1, 1, 4, 6), 6), ((3, 4, 4, 8), 1)]
)
def test_value_and_gradients_are_flaxs(shape, groups, silu):
    channels = (shape[0], shape[-1])
    given = [drawn(*shape), 1 + drawn(*channels, seed=1) / 2, drawn(*channels, seed=2)]
    ours = value_and_gradients(group_norm, *given, groups=groups, silu=silu)
    theirs = value_and_gradients(flax_norm, *given, groups=groups, silu=silu)
    for name, a, b in zip(("out", "dx", "dscale", "dbias"), ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5 * float(jnp.abs(b).max()), err_msg=name)


def test_an_image_far_from_zero_keeps_its_variance():
    x = drawn(2, 8, 8, 4)
    one, zero = jnp.ones((2, 4)), jnp.zeros((2, 4))
    near, far = (group_norm(image, one, zero, 2, False) for image in (x, x + 4096.0))
    np.testing.assert_allclose(far, near, atol=2e-3)  # x + 4096 itself is rounded to 2.4e-4


def test_modulation_scales_and_shifts_what_is_normalized():
    x, factor, shift = drawn(2, 4, 4, 8), drawn(2, 8, seed=1), drawn(2, 8, seed=2)
    module = GroupNorm(2)
    variables = {"params": {"scale": 1 + drawn(8, seed=3), "bias": drawn(8, seed=4)}}
    plain = module.apply(variables, x)
    modulated = module.apply(variables, x, modulation=(factor, shift))
    expected = plain * (1 + factor)[:, None, None] + shift[:, None, None]
    np.testing.assert_allclose(modulated, expected, atol=1e-5)


def test_old_checkpoints_parameters_and_bfloat16():
    x = drawn(2, 4, 4, 8)
    ours = GroupNorm(2, jnp.bfloat16)
    variables = ours.init(jax.random.key(0), x)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(
        jnp.shape, nn.GroupNorm(2).init(jax.random.key(0), x)
    )
    out = ours.apply(variables, x, silu=True)
    exact = GroupNorm(2).apply(variables, x, silu=True)
    assert out.dtype == jnp.bfloat16
    np.testing.assert_allclose(out.astype(jnp.float32), exact, atol=0.05)
