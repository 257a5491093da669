"""A part's arrays for attention in plain JAX: laid out, cut into blocks, and a pair's logits."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kernels.attention.api import Arrays, Settings, visible
from kernels.attention.xla_plan import Plan


class Part(NamedTuple):
    """Lengths are padded to whole blocks; sizes of the bias may be 1. `keys` is S unpadded."""

    q_bxkxgxTxD: jax.Array
    k_bxkxSxD: jax.Array
    v_bxkxSxD: jax.Array
    bias_bxkxgxtxs: jax.Array | None
    q_segments_bxT: jax.Array | None
    k_segments_bxS: jax.Array | None
    keys: int


class Pull(NamedTuple):
    """What the backward pass knows of each query: row by row, besides its arrays."""

    dout_bxkxgxTxD: jax.Array
    lse_bxkxgxT: jax.Array
    delta_bxkxgxT: jax.Array


def pad(arrays: Arrays, plan: Plan) -> Part:
    """All problems in the layout of a part, keys and queries padded to whole blocks by zeros."""
    heads, (keys, key_heads) = arrays.q_BxTxHxD.shape[2], arrays.k_BxSxKxD.shape[1:3]
    q = grouped(arrays.q_BxTxHxD, key_heads)
    k, v = (jnp.moveaxis(x, 1, 2) for x in arrays[1:3])
    bias = arrays.bias_bxhxtxs
    if bias is not None:
        split = (1, 1) if bias.shape[1] == 1 else (key_heads, heads // key_heads)
        bias = bias.reshape(bias.shape[0], *split, *bias.shape[2:])
        bias = bias if bias.shape[3] == 1 else padded(bias, 3, plan.queries)
        bias = bias if bias.shape[4] == 1 else padded(bias, 4, plan.keys)
    q_segments, k_segments = arrays.q_segments_BxT, arrays.k_segments_BxS
    if q_segments is not None and k_segments is not None:
        q_segments = padded(q_segments, 1, plan.queries)
        k_segments = padded(k_segments, 1, plan.keys)
    k, v = padded(k, 2, plan.keys), padded(v, 2, plan.keys)
    return Part(padded(q, 3, plan.queries), k, v, bias, q_segments, k_segments, keys)


def part_of(whole: Part, plan: Plan, index: jax.Array) -> Part:
    of_batch, of_heads = plan.place(index)

    def cut(x: jax.Array | None, heads: bool = True) -> Any:
        if x is None:
            return None
        x = block(x, 0, of_batch, plan.batch)
        return block(x, 1, of_heads, plan.heads) if heads else x

    q, k, v, bias, q_segments, k_segments, keys = whole
    q_segments, k_segments = (cut(x, heads=False) for x in (q_segments, k_segments))
    return Part(cut(q), cut(k), cut(v), cut(bias), q_segments, k_segments, keys)


def pulled_back(
    arrays: Arrays, plan: Plan, out: jax.Array, lse: jax.Array, dout: jax.Array
) -> Pull:
    """All problems' `Pull`; the log-sum-exp of rows without a key is inf: their weights are 0."""
    key_heads = arrays.k_BxSxKxD.shape[2]
    dtype = accumulator(arrays.q_BxTxHxD)
    delta = jnp.sum(out.astype(dtype) * dout.astype(dtype), axis=-1, keepdims=True)
    lse = jnp.where(lse == -jnp.inf, jnp.inf, lse)
    split = lse.reshape(lse.shape[0], key_heads, -1, lse.shape[2])
    return Pull(
        padded(grouped(dout, key_heads), 3, plan.queries),
        padded(split, 3, plan.queries, jnp.inf),
        padded(grouped(delta, key_heads)[..., 0], 3, plan.queries),
    )


def pull_of(whole: Pull, plan: Plan, index: jax.Array) -> Pull:
    of_batch, of_heads = plan.place(index)
    return Pull(*(block(block(x, 0, of_batch, plan.batch), 1, of_heads, plan.heads) for x in whole))


def logits_of(
    part: Part, plan: Plan, settings: Settings, i: Any, j: Any, masked: bool
) -> tuple[jax.Array, jax.Array | None]:
    """A block's logits (b, k, g, queries, keys) and the softcap's slope there, -inf if unseen."""
    q = block(part.q_bxkxgxTxD, 3, i, plan.queries)
    k = block(part.k_bxkxSxD, 2, j, plan.keys)
    # A scaled q saves a pass over the logits; of fewer bits it would be rounded once more.
    exact = q.dtype == accumulator(q)
    logits = product("bkrd,bksd->bkrs", rows(settings.scale * q if exact else q), k)
    logits = (logits if exact else settings.scale * logits).reshape(*q.shape[:-1], k.shape[2])
    slope = None
    if settings.softcap is not None:
        capped = jnp.tanh(logits / settings.softcap)
        logits, slope = settings.softcap * capped, 1 - capped**2
    if part.bias_bxkxgxtxs is not None:
        bias = block(part.bias_bxkxgxtxs, 3, i, plan.queries)
        logits = logits + visible(block(bias, 4, j, plan.keys).astype(logits.dtype))
    if masked:
        logits = jnp.where(seen(part, plan, settings, i, j), logits, -jnp.inf)
    return logits, slope


def seen(part: Part, plan: Plan, settings: Settings, i: Any, j: Any) -> jax.Array:
    """Which elements of a pair of blocks are seen, broadcasts to (b, k, g, queries, keys)."""
    at_i = (i * plan.queries + jnp.arange(plan.queries))[:, None]
    at_j = (j * plan.keys + jnp.arange(plan.keys))[None, :]
    mask = at_j < part.keys
    if settings.left is not None:
        mask &= at_j >= at_i - settings.left
    if settings.right is not None:
        mask &= at_j <= at_i + settings.right
    if part.q_segments_bxT is None or part.k_segments_bxS is None:
        return mask
    of_q = block(part.q_segments_bxT, 1, i, plan.queries)[:, None, None, :, None]
    of_k = block(part.k_segments_bxS, 1, j, plan.keys)[:, None, None, None, :]
    return mask & (of_q == of_k)


def pull_logits(
    part: Part, pull: Pull, plan: Plan, settings: Settings, i: Any, j: Any, masked: bool
) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    """A block's weights, the gradient by its logits, and the softcap's slope."""
    logits, slope = logits_of(part, plan, settings, i, j, masked)
    dout, lse, delta = (block(x, 3, i, plan.queries) for x in pull)
    weights = jnp.exp(logits - lse[..., None])
    v = block(part.v_bxkxSxD, 2, j, plan.keys)
    dweights = product("bkrd,bksd->bkrs", rows(dout), v).reshape(weights.shape)
    return weights, weights * (dweights - delta[..., None]), slope


def accumulator(x: jax.Array) -> Any:
    return jnp.promote_types(x.dtype, jnp.float32)


def product(spec: str, a: jax.Array, b: jax.Array) -> jax.Array:
    """In full precision, which for float32 isn't an accelerator's own way."""
    return jnp.einsum(spec, a, b, precision="highest", preferred_element_type=accumulator(a))


def rows(x_bxkxgxtxn: jax.Array) -> jax.Array:
    """Query heads that share keys become rows of one product: (b, k, g t, n)."""
    b, k, g, t, n = x_bxkxgxtxn.shape
    return x_bxkxgxtxn.reshape(b, k, g * t, n)


def block(x: jax.Array, axis: int, index: Any, size: int) -> jax.Array:
    """Block `index` of an axis; all of one that is a single block or broadcasts."""
    if x.shape[axis] <= size:
        return x
    return jax.lax.dynamic_slice_in_dim(x, index * size, size, axis)


def put(x: jax.Array, y: jax.Array, axis: int, index: Any, size: int) -> jax.Array:
    if x.shape[axis] <= size:
        return y
    return jax.lax.dynamic_update_slice_in_dim(x, y, index * size, axis)


def add(x: jax.Array, y: jax.Array, axis: int, index: Any, size: int) -> jax.Array:
    old = block(x, axis, index, size)
    return put(x, old + y.reshape(old.shape), axis, index, size)


def padded(x: jax.Array, axis: int, size: int, value: float = 0) -> jax.Array:
    widths = [(0, 0)] * x.ndim
    widths[axis] = (0, -x.shape[axis] % size)
    return jnp.pad(x, widths, constant_values=value) if widths[axis][1] else x


def grouped(x_BxTxHxD: jax.Array, key_heads: int) -> jax.Array:
    b, t, h, d = x_BxTxHxD.shape
    return x_BxTxHxD.reshape(b, t, key_heads, h // key_heads, d).transpose(0, 2, 3, 1, 4)


def to_public(x: jax.Array, arrays: Arrays) -> jax.Array:
    """From (parts, b, k, g, T padded, D) to (B, T, H, D)."""
    b, t, h, d = arrays.q_BxTxHxD.shape
    return x.reshape(b, h, -1, d)[:, :, :t].transpose(0, 2, 1, 3)


def keys_to_public(x: jax.Array, arrays: Arrays) -> jax.Array:
    """From (parts, b, k, D, S padded) to (B, S, K, D)."""
    b, s, k, d = arrays.k_BxSxKxD.shape
    return x.reshape(b, k, d, -1)[..., :s].transpose(0, 3, 1, 2)


def joined(lse: jax.Array, arrays: Arrays) -> jax.Array:
    b, t, h, _ = arrays.q_BxTxHxD.shape
    return lse.reshape(b, h, -1)[..., :t]
