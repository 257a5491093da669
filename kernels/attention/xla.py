"""Attention in plain JAX, the CPU's own: blocks of keys, an online softmax, and nothing kept.

The work is cut three ways. A part is as many problems (a batch entry and a key head, with all the
query heads that share it) as keep a block's logits in cache; parts run one after another. In a part
the pairs of a query block and a key block that the band lets meet are visited in a scan: first the
whole ones, which need no mask, then those on an edge. What the band rules out is in neither list.
FlashAttention-2 (2307.08691), algorithms 1 and 2.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kernels.attention.api import Arrays, Settings, visible
from kernels.blocks import chosen, largest_divisor

Carry = Any

# The plan and the settings are what a program is compiled for, and kept by: not the machine.
compiled = functools.partial(jax.jit, static_argnums=(0, 1))


def refuses(arrays: Arrays, settings: Settings) -> None:
    """Takes every call."""


def forward(arrays: Arrays, settings: Settings) -> tuple[jax.Array, jax.Array]:
    """The output (B, T, H, D) and the logits' log-sum-exp (B, H, T), -inf where no key is seen."""
    return forward_by(planned("forward", arrays, settings), settings, arrays)


@compiled
def forward_by(plan: "Plan", settings: Settings, arrays: Arrays) -> tuple[jax.Array, jax.Array]:
    padded = pad(arrays, plan)

    def softmax(index: jax.Array) -> tuple[jax.Array, jax.Array]:
        part = part_of(padded, plan, index)
        b, k, g, t, d = part.q_bxkxgxTxD.shape
        dtype = accumulator(arrays.q_BxTxHxD)
        highest = jnp.full((b, k, g, t), -jnp.inf, dtype)
        start = highest, jnp.zeros_like(highest), jnp.zeros((b, k, g, t, d), dtype)
        step = functools.partial(softmax_step, part, plan, settings)
        highest, total, sums = visit(plan, step, start)
        out = sums / jnp.where(total == 0, 1, total)[..., None]
        return out.astype(arrays.q_BxTxHxD.dtype), jnp.log(total) + highest

    out, lse = jax.lax.map(softmax, plan.indices)
    return to_public(out, arrays), joined(lse, arrays)


def softmax_step(
    part: "Part", plan: "Plan", settings: Settings, carry: Carry, i: Any, j: Any, masked: bool
) -> Carry:
    """One key block's share of a query block's maximum, sum of weights and weighted values."""
    highest, total, sums = (block(x, 3, i, plan.queries) for x in carry)
    logits, _ = logits_of(part, plan, settings, i, j, masked)
    new = jnp.maximum(highest, jnp.max(logits, axis=-1))
    base = jnp.where(new == -jnp.inf, 0, new)
    weights = jnp.exp(logits - base[..., None])
    kept = jnp.exp(highest - base)
    v = block(part.v_bxkxSxD, 2, j, plan.keys)
    values = product("bkrs,bksd->bkrd", rows(weights).astype(v.dtype), v).reshape(sums.shape)
    new_sums = sums * kept[..., None] + values
    found = new, total * kept + jnp.sum(weights, axis=-1), new_sums
    return tuple(put(x, y, 3, i, plan.queries) for x, y in zip(carry, found, strict=True))


def backward(
    arrays: Arrays, settings: Settings, out: jax.Array, lse: jax.Array, dout: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array | None]:
    """The gradients by q, k, v and bias from `forward`'s results and the output's gradient."""
    plan = planned("backward", arrays, settings)
    dbias = bias_gradient(arrays, settings, out, lse, dout)
    return *backward_by(plan, settings, arrays, out, lse, dout), dbias


@compiled
def backward_by(
    plan: "Plan",
    settings: Settings,
    arrays: Arrays,
    out: jax.Array,
    lse: jax.Array,
    dout: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    padded = pad(arrays, plan)
    pulled = pulled_back(arrays, plan, out, lse, dout)

    def gradients(index: jax.Array) -> Carry:
        part, pull = part_of(padded, plan, index), pull_of(pulled, plan, index)
        # Products contract the left side's last axis and the right side's first: XLA's fast form.
        q_bxkxDxgxT, dout_bxkxDxgxT = (
            jnp.moveaxis(x, -1, 2) for x in (part.q_bxkxgxTxD, pull.dout_bxkxgxTxD)
        )
        dtype = accumulator(arrays.q_BxTxHxD)
        dq = jnp.zeros(part.q_bxkxgxTxD.shape, dtype)
        dkv_bxkxDxS = jnp.zeros(jnp.moveaxis(part.k_bxkxSxD, -1, 2).shape, dtype)

        def step(carry: Carry, i: Any, j: Any, masked: bool) -> Carry:
            dq, dk, dv = carry
            weights, dlogits, slope = pull_logits(part, pull, plan, settings, i, j, masked)
            q, do = (
                block(x, 4, i, plan.queries).reshape(*x.shape[:3], -1)
                for x in (q_bxkxDxgxT, dout_bxkxDxgxT)
            )
            dlogits = rows(dlogits if slope is None else dlogits * slope).astype(q.dtype)
            k = block(part.k_bxkxSxD, 2, j, plan.keys)
            more_q = product("bkrs,bksd->bkrd", dlogits, k)
            more_k = product("bkdr,bkrs->bkds", q, dlogits)
            more_v = product("bkdr,bkrs->bkds", do, rows(weights).astype(q.dtype))
            return (
                add(dq, more_q, 3, i, plan.queries),
                add(dk, more_k, 3, j, plan.keys),
                add(dv, more_v, 3, j, plan.keys),
            )

        dq, dk, dv = visit(plan, step, (dq, dkv_bxkxDxS, dkv_bxkxDxS))
        given = arrays.q_BxTxHxD.dtype
        return (
            (settings.scale * dq).astype(given),
            (settings.scale * dk).astype(given),
            dv.astype(given),
        )

    dq, dk, dv = jax.lax.map(gradients, plan.indices)
    dk, dv = (keys_to_public(x, arrays) for x in (dk, dv))
    return to_public(dq, arrays), dk, dv


def bias_gradient(
    arrays: Arrays, settings: Settings, out: jax.Array, lse: jax.Array, dout: jax.Array
) -> jax.Array | None:
    """The gradient by the bias, in its shape and dtype, or None without one.

    A computation of its own, for every backend: under jit XLA drops it where nobody asks for it.
    Sums over what the bias broadcasts to without an array of (T, S).
    """
    if arrays.bias_bxhxtxs is None:
        return None
    plan = planned("bias", arrays, settings)
    return bias_gradient_by(plan, settings, arrays, out, lse, dout)


@compiled
def bias_gradient_by(
    plan: "Plan",
    settings: Settings,
    arrays: Arrays,
    out: jax.Array,
    lse: jax.Array,
    dout: jax.Array,
) -> jax.Array:
    padded = pad(arrays, plan)
    pulled = pulled_back(arrays, plan, out, lse, dout)
    assert padded.bias_bxkxgxtxs is not None
    shape = padded.bias_bxkxgxtxs.shape
    summed = tuple(axis for axis, size in enumerate(shape) if size == 1)

    def gradient(dbias: jax.Array, index: jax.Array) -> tuple[jax.Array, None]:
        part, pull = part_of(padded, plan, index), pull_of(pulled, plan, index)
        of_batch, of_heads = plan.place(index)

        def step(dbias: jax.Array, i: Any, j: Any, masked: bool) -> jax.Array:
            _, dlogits, _ = pull_logits(part, pull, plan, settings, i, j, masked)
            more = jnp.sum(dlogits, axis=summed, keepdims=True)
            at_once = (of_batch, of_heads, jnp.int32(0), jnp.int32(i), jnp.int32(j))
            sizes = (plan.batch, plan.heads, more.shape[2], plan.queries, plan.keys)
            # Where the bias has one element for all, the start is clamped to it.
            where = [at * size for at, size in zip(at_once, sizes, strict=True)]
            old = jax.lax.dynamic_slice(dbias, where, more.shape)
            return jax.lax.dynamic_update_slice(dbias, old + more, where)

        return visit(plan, step, dbias), None

    start = jnp.zeros(shape, accumulator(arrays.q_BxTxHxD))
    dbias, _ = jax.lax.scan(gradient, start, plan.indices)
    bias = arrays.bias_bxhxtxs
    assert bias is not None
    dbias = dbias[..., : bias.shape[2], : bias.shape[3]]
    return dbias.reshape(bias.shape).astype(bias.dtype)


# The plan: what is done at once, and which blocks meet.


@dataclasses.dataclass(frozen=True)
class Plan:
    """`batch` x `heads` problems a part; blocks of `queries` x `keys`; the pairs (i, j) to visit.

    Every element of a `whole` pair is seen; an `edge` pair needs the mask.
    """

    batch: int
    heads: int
    queries: int
    keys: int
    parts: int
    heads_parts: int
    whole: tuple[tuple[int, int], ...]
    edge: tuple[tuple[int, int], ...]

    @property
    def indices(self) -> jax.Array:
        return jnp.arange(self.parts, dtype=jnp.int32)

    def place(self, index: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Which run of batch entries and which of key heads part `index` is."""
        return index // self.heads_parts, index % self.heads_parts


# In cache, and long enough for the products; 2 MiB of float32 logits at once.
DEFAULT = {"queries": 512, "keys": 512, "logits": 2**19}


def planned(direction: str, arrays: Arrays, settings: Settings) -> Plan:
    """Blocks that differ by less than 16 in length, and parts that divide the problems."""
    (batch, queries, heads, size), (_, keys, key_heads, _) = (x.shape for x in arrays[:2])
    blocks = chosen("kernels.attention", "xla", f"{direction} d{size}", DEFAULT)
    of_queries, of_keys = even(queries, blocks["queries"]), even(keys, blocks["keys"])
    room = max(1, blocks["logits"] // (of_queries * of_keys * (heads // key_heads)))
    of_heads = largest_divisor(key_heads, room)
    of_batch = largest_divisor(batch, room // key_heads) if of_heads == key_heads else 1
    whole, edge = pairs(queries, keys, of_queries, of_keys, settings)
    if arrays.q_segments_BxT is not None:
        whole, edge = (), whole + edge
    heads_parts = key_heads // of_heads
    parts = batch // of_batch * heads_parts
    return Plan(of_batch, of_heads, of_queries, of_keys, parts, heads_parts, whole, edge)


def even(length: int, most: int) -> int:
    """A block's length, at most about `most`: one block, or several of a multiple of 16."""
    if length <= most:
        return length
    count = -(-length // most)
    return -(-length // (16 * count)) * 16


def pairs(
    queries: int, keys: int, of_queries: int, of_keys: int, settings: Settings
) -> tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]]:
    """The pairs (i, j) of blocks that are seen whole, and those that are seen in part."""
    far = queries + keys
    left = far if settings.left is None else settings.left
    right = far if settings.right is None else settings.right
    i = np.arange(-(-queries // of_queries))[:, None]
    j = np.arange(-(-keys // of_keys))[None, :]
    first_i, last_i = i * of_queries, np.minimum((i + 1) * of_queries, queries) - 1
    first_j, last_j = j * of_keys, np.minimum((j + 1) * of_keys, keys) - 1
    seen = (first_j <= last_i + right) & (last_j >= first_i - left)
    whole = (last_j <= first_i + right) & (first_j >= last_i - left) & (first_j + of_keys <= keys)
    listed = (np.argwhere(which).tolist() for which in (seen & whole, seen & ~whole))
    whole_pairs, edge_pairs = (tuple((i, j) for i, j in pairs) for pairs in listed)
    return whole_pairs, edge_pairs


def visit(plan: Plan, step: Callable[..., Carry], carry: Carry) -> Carry:
    """`step(carry, i, j, masked)` over the plan's pairs."""
    for found, masked in ((plan.whole, False), (plan.edge, True)):
        if len(found) == 1:
            carry = step(carry, *found[0], masked)
        elif len(found):
            one = functools.partial(step_of_pair, step, masked)
            carry, _ = jax.lax.scan(one, carry, jnp.asarray(found, jnp.int32))
    return carry


def step_of_pair(
    step: Callable[..., Carry], masked: bool, carry: Carry, pair: jax.Array
) -> tuple[Carry, None]:
    return step(carry, pair[0], pair[1], masked), None


# A part's arrays, and its blocks.


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


# Small pieces.


def accumulator(x: jax.Array) -> Any:
    return jnp.promote_types(x.dtype, jnp.float32)


def product(spec: str, a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.einsum(spec, a, b, preferred_element_type=accumulator(a))


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
