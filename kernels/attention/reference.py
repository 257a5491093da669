"""Attention, plain and in float32: the truth that other backends are held to."""

import jax
import jax.numpy as jnp

from kernels.attention.api import Arrays, Settings, visible


def refuses(arrays: Arrays, settings: Settings) -> None:
    """Takes every call."""


def forward(arrays: Arrays, settings: Settings) -> tuple[jax.Array, jax.Array]:
    """The output (B, T, H, D) and the logits' log-sum-exp (B, H, T), -inf where no key is seen."""
    groups = arrays.q_BxTxHxD.shape[2] // arrays.k_BxSxKxD.shape[2]
    q, k, v = (x.astype(jnp.float32) for x in arrays[:3])
    k, v = (jnp.repeat(x, groups, axis=2) for x in (k, v))
    logits = settings.scale * jnp.einsum("bthd,bshd->bhts", q, k, precision="highest")
    if settings.softcap is not None:
        logits = settings.softcap * jnp.tanh(logits / settings.softcap)
    if arrays.bias_bxhxtxs is not None:
        logits += visible(arrays.bias_bxhxtxs.astype(jnp.float32))
    logits = jnp.where(seen(arrays, settings), logits, -jnp.inf)
    highest = jnp.max(logits, axis=-1, keepdims=True)
    weights = jnp.exp(logits - jnp.where(highest == -jnp.inf, 0, highest))
    total = jnp.sum(weights, axis=-1, keepdims=True)
    weights /= jnp.where(total == 0, 1, total)
    out = jnp.einsum("bhts,bshd->bthd", weights, v, precision="highest")
    return out.astype(arrays.q_BxTxHxD.dtype), (jnp.log(total) + highest)[..., 0]


def backward(
    arrays: Arrays, settings: Settings, out: jax.Array, lse: jax.Array, dout: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array | None]:
    """JAX's own derivative of `forward`, by q, k, v and bias."""

    def moved(q: jax.Array, k: jax.Array, v: jax.Array, bias: jax.Array | None) -> jax.Array:
        given = Arrays(q, k, v, bias, arrays.q_segments_BxT, arrays.k_segments_BxS)
        return forward(given, settings)[0]

    _, pull = jax.vjp(moved, *arrays[:4])
    return pull(dout)


def seen(arrays: Arrays, settings: Settings) -> jax.Array:
    """Which keys each query sees, bool, broadcasts to (B, H, T, S)."""
    i = jnp.arange(arrays.q_BxTxHxD.shape[1])[:, None]
    j = jnp.arange(arrays.k_BxSxKxD.shape[1])[None, :]
    mask = jnp.ones((1, 1, i.size, j.size), bool)
    if settings.left is not None:
        mask &= j >= i - settings.left
    if settings.right is not None:
        mask &= j <= i + settings.right
    if arrays.q_segments_BxT is not None and arrays.k_segments_BxS is not None:
        same = arrays.q_segments_BxT[:, :, None] == arrays.k_segments_BxS[:, None, :]
        mask &= same[:, None]
    return mask
