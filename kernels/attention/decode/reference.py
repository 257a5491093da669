"""Decode attention, plain and in float32: the truth that other backends are held to."""

import jax
import jax.numpy as jnp

from kernels.attention.decode.api import Arrays, Settings


def refuses(arrays: Arrays, settings: Settings) -> None:
    """Takes every call."""


def forward(arrays: Arrays, settings: Settings) -> jax.Array:
    """The output (B, H, D)."""
    q, k, v, lengths_B, _ = arrays
    if arrays.pages_BxM is not None:
        k, v = (gathered(x, arrays.pages_BxM) for x in (k, v))
    groups = q.shape[1] // k.shape[1]
    seen_BxS = seen(lengths_B, k.shape[2], settings.window)
    # What lies beyond a length may be anything, NaN too.
    k, v = (jnp.where(seen_BxS[:, None, :, None], x, 0).astype(jnp.float32) for x in (k, v))
    k, v = (jnp.repeat(x, groups, axis=1) for x in (k, v))
    q32 = q.astype(jnp.float32)
    logits = settings.scale * jnp.einsum("bhd,bhsd->bhs", q32, k, precision="highest")
    if settings.softcap is not None:
        logits = settings.softcap * jnp.tanh(logits / settings.softcap)
    logits = jnp.where(seen_BxS[:, None], logits, -jnp.inf)
    weights = jnp.where(lengths_B[:, None, None] > 0, jax.nn.softmax(logits), 0)
    return jnp.einsum("bhs,bhsd->bhd", weights, v, precision="highest").astype(q.dtype)


def seen(lengths_B: jax.Array, keys: int, window: int | None) -> jax.Array:
    """Which keys (B, S) the newest query of each sequence sees."""
    j = jnp.arange(keys)[None, :]
    newest = lengths_B[:, None] - 1
    mask = j <= newest
    return mask if window is None else mask & (j >= newest - window)


def gathered(x_PxKxNxD: jax.Array, pages_BxM: jax.Array) -> jax.Array:
    """The pages of each sequence in a row, (B, K, M N, D)."""
    pages = jnp.clip(pages_BxM, 0, x_PxKxNxD.shape[0] - 1)
    x_BxKxMxNxD = jnp.swapaxes(x_PxKxNxD[pages], 1, 2)
    b, k, m, n, d = x_BxKxMxNxD.shape
    return x_BxKxMxNxD.reshape(b, k, m * n, d)
