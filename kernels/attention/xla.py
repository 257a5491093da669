"""Attention in plain JAX, the CPU's own: blocks of keys, an online softmax, and nothing kept.

The work is cut three ways. A part is as many problems (a batch entry and a key head, with all the
query heads that share it) as keep a block's logits in cache; parts run one after another. In a part
the pairs of a query block and a key block that the band lets meet are visited in a scan: first the
whole ones, which need no mask, then those on an edge. What the band rules out is in neither list.
FlashAttention-2 (2307.08691), algorithms 1 and 2.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from kernels.attention.api import Arrays, Settings
from kernels.attention.xla_parts import (
    Part,
    accumulator,
    add,
    block,
    joined,
    keys_to_public,
    logits_of,
    pad,
    part_of,
    product,
    pull_logits,
    pull_of,
    pulled_back,
    put,
    rows,
    to_public,
)
from kernels.attention.xla_plan import Carry, Plan, planned, visit

# The plan and the settings are what a program is compiled for, and kept by: not the machine.
compiled = functools.partial(jax.jit, static_argnums=(0, 1))


def refuses(arrays: Arrays, settings: Settings) -> None:
    """Takes every call."""


def forward(arrays: Arrays, settings: Settings) -> tuple[jax.Array, jax.Array]:
    """The output (B, T, H, D) and the logits' log-sum-exp (B, H, T), -inf where no key is seen."""
    return forward_by(planned("forward", arrays, settings), settings, arrays)


@compiled
def forward_by(plan: Plan, settings: Settings, arrays: Arrays) -> tuple[jax.Array, jax.Array]:
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
    part: Part, plan: Plan, settings: Settings, carry: Carry, i: Any, j: Any, masked: bool
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
    plan: Plan,
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
    plan: Plan,
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
