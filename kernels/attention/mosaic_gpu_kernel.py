"""The kernel of attention's forward pass on Hopper, in Pallas Mosaic GPU.

A program owns one tile of queries of one head, a part of it to each of two warpgroups that
multiply; a third warpgroup only loads keys and values. The two take turns on the matrix unit: while
one multiplies, the other makes its softmax. FlashAttention-3 (2407.08608), section 3.1.

The weights go to the second product through shared memory. The matrix unit would take them from
registers too, but JAX's interpreter would not: so what it tests is what is compiled.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

LOG2E = math.log2(math.e)
# Less than any logit, yet finite: exp2(-inf - LOWEST) is 0 with no case for rows that see nothing.
LOWEST = -1e30
MULTIPLY = 2  # warpgroups that multiply; the next one loads
QUERIES = 64  # of a warpgroup: the rows of its matrix instructions
REGISTERS = {"multiply": 240, "load": 24}  # a thread; 65536 are there for all


class Call(NamedTuple):
    """What the kernel knows when it is made. The scale of q.k waits for the exponent."""

    batch: int
    T: int
    S: int
    heads: int
    groups: int
    D: int
    scale: float
    left: int | None
    right: int | None
    block_k: int
    stages: int

    @property
    def rows(self) -> int:
        return MULTIPLY * QUERIES

    @property
    def tiles(self) -> int:
        return pl.cdiv(self.T, self.rows)

    @property
    def masks_left(self) -> bool:
        return self.left is not None

    @property
    def masks_right(self) -> bool:
        return self.right is not None or self.S % self.block_k != 0


class Refs(NamedTuple):
    """Arrays in global memory, then a program's own memory, and barriers, one a slot or warpgroup.

    A slot of keys or values is ready when it is copied, and free when both have multiplied by it.
    """

    q: Any
    k: Any
    v: Any
    out: Any
    lse: Any
    q_smem: Any
    k_smem: Any
    v_smem: Any
    weights_smem: Any
    lse_smem: Any
    q_ready: Any
    k_ready: Any
    v_ready: Any
    k_free: Any
    v_free: Any
    turn: Any


def attention_forward(*arrays: Any, call: Call, **own: Any) -> None:
    refs, warpgroup = Refs(*arrays, **own), lax.axis_index("warpgroup")

    @pl.when(warpgroup == MULTIPLY)
    def _() -> None:
        plgpu.set_max_registers(REGISTERS["load"], action="decrease")
        load(call, refs)

    @pl.when(warpgroup < MULTIPLY)
    def _() -> None:
        plgpu.set_max_registers(REGISTERS["multiply"], action="increase")
        multiply(call, refs, warpgroup)


def place(call: Call) -> tuple[Any, Any, Any]:
    """(batch, head, first query) of this program; the last, which may see most keys, start first.

    Each warpgroup asks for itself: what is known before its registers are set would spill.
    """
    program = lax.axis_index("program")
    tile = call.tiles - 1 - lax.rem(program, call.tiles)
    above = lax.div(program, call.tiles)
    return lax.div(above, call.heads), lax.rem(above, call.heads), tile * call.rows


def load(call: Call, refs: Refs) -> None:
    """Copies the tile's blocks of keys and values, each to the slot that was free first."""
    b, h, first = place(call)
    key_head = lax.div(h, call.groups)
    start, *_, stop = reach(call, first)
    streams = [
        (refs.k, refs.k_smem, refs.k_ready, refs.k_free),
        (refs.v, refs.v_smem, refs.v_ready, refs.v_free),
    ]

    @pl.loop(start, stop)
    def _fill(block: Any) -> None:
        slot = lax.rem(block, call.stages)
        rows = pl.ds(block * call.block_k, call.block_k)
        for ref, smem, ready, free in streams:
            pl.when(block - start >= call.stages)(
                functools.partial(plgpu.barrier_wait, free.at[slot])
            )
            plgpu.copy_gmem_to_smem(ref.at[b, rows, key_head], smem.at[slot], ready.at[slot])

    # No arrival is left behind that its waiter hasn't seen.
    @pl.loop(jnp.maximum(start, stop - call.stages), stop)
    def _drain(block: Any) -> None:
        for *_, free in streams:
            plgpu.barrier_wait(free.at[lax.rem(block, call.stages)])


def multiply(call: Call, refs: Refs, warpgroup: Any) -> None:
    """The output and log-sum-exp of one warpgroup's queries."""
    b, h, first_of_tile = place(call)
    first = first_of_tile + warpgroup * QUERIES
    rows = pl.ds(first, QUERIES)
    start, inner, outer, stop = reach(call, first_of_tile)
    q_smem, q_ready = refs.q_smem.at[warpgroup], refs.q_ready.at[warpgroup]
    plgpu.copy_gmem_to_smem(refs.q.at[b, rows, h], q_smem, q_ready)
    plgpu.barrier_wait(q_ready)

    # The first warpgroup has the first turn, and the last one gives it back.
    pl.when(warpgroup == 1)(lambda: plgpu.barrier_wait(refs.turn.at[1]))
    visit = functools.partial(visit_block, call=call, refs=refs, warpgroup=warpgroup, first=first)
    carry: Any = jnp.zeros((QUERIES, call.D)), jnp.full(QUERIES, LOWEST), jnp.zeros(QUERIES)
    if call.masks_left:
        carry = lax.fori_loop(start, inner, functools.partial(visit, masked=True), carry)
    carry = lax.fori_loop(inner, outer, functools.partial(visit, masked=False), carry)
    if call.masks_right:
        carry = lax.fori_loop(outer, stop, functools.partial(visit, masked=True), carry)
    pl.when(warpgroup == 0)(lambda: plgpu.barrier_arrive(refs.turn.at[1]))

    out, highest, total = carry
    lse_smem = refs.lse_smem.at[warpgroup]
    q_smem[...] = (out / jnp.where(total == 0, 1.0, total)[:, None]).astype(q_smem.dtype)
    lse_smem[...] = highest * call.scale + jnp.log(total)  # log(0) is -inf
    plgpu.commit_smem()
    plgpu.copy_smem_to_gmem(q_smem, refs.out.at[b, rows, h])
    plgpu.copy_smem_to_gmem(lse_smem, refs.lse.at[b, h, rows])
    plgpu.wait_smem_to_gmem(0)


def visit_block(
    block: Any, carry: Any, *, call: Call, refs: Refs, warpgroup: Any, first: Any, masked: bool
) -> Any:
    """One block of keys: (unnormalised output, highest q.k, total of the weights) of the queries.

    FlashAttention-2 (2307.08691), algorithm 1. From the end of its second product to the start of
    its first one the matrix unit is this warpgroup's.
    """
    out, highest, total = carry
    mine, others = refs.turn.at[warpgroup], refs.turn.at[MULTIPLY - 1 - warpgroup]
    q_smem, weights_smem = refs.q_smem.at[warpgroup], refs.weights_smem.at[warpgroup]
    slot, to_log2 = lax.rem(block, call.stages), call.scale * LOG2E

    plgpu.barrier_wait(refs.k_ready.at[slot])
    logits = product(q_smem, refs.k_smem.at[slot].transpose((1, 0)), others)
    plgpu.barrier_arrive(refs.k_free.at[slot])
    if masked:
        logits = seen(logits, first, block * call.block_k, call)
    now = jnp.maximum(highest, jnp.max(logits, axis=1))
    weights = jnp.exp2(logits * to_log2 - (now * to_log2)[:, None])
    rescale = jnp.exp2((highest - now) * to_log2)
    total = total * rescale + jnp.sum(weights, axis=1)
    weights_smem[...] = weights.astype(weights_smem.dtype)
    plgpu.commit_smem()

    plgpu.barrier_wait(refs.v_ready.at[slot])
    plgpu.barrier_wait(mine)
    out = out * rescale[:, None] + product(weights_smem, refs.v_smem.at[slot])
    plgpu.barrier_arrive(refs.v_free.at[slot])
    return out, now, total


def product(a: Any, b: Any, next_turn: Any = None) -> jax.Array:
    """a @ b in float32; as soon as it is on its way, the matrix unit is the other warpgroup's."""

    def scoped(accumulator: Any) -> jax.Array:
        plgpu.wgmma(accumulator, a, b)
        if next_turn is not None:
            plgpu.barrier_arrive(next_turn)
        return accumulator[...]

    return pl.run_scoped(scoped, plgpu.ACC((a.shape[0], b.shape[1]), jnp.float32))


def reach(call: Call, first: Any) -> tuple[Any, Any, Any, Any]:
    """The blocks of keys that the tile of query `first` sees: [start, stop).

    [inner, outer) are those of which every query sees every key.
    """
    last = jnp.minimum(first + call.rows, call.T) - 1
    start = inner = jnp.int32(0)
    outer, stop = jnp.int32(call.S // call.block_k), jnp.int32(pl.cdiv(call.S, call.block_k))
    if call.right is not None:
        stop = jnp.minimum(stop, lax.div(last + call.right, call.block_k) + 1)
        outer = jnp.minimum(outer, lax.div(first + call.right + 1, call.block_k))
    if call.left is not None:
        start = lax.div(jnp.maximum(first - call.left, 0), call.block_k)
        inner = lax.div(jnp.maximum(last - call.left, 0) + call.block_k - 1, call.block_k)
        start = jnp.minimum(start, stop)
        inner = jnp.minimum(inner, stop)
        outer = jnp.maximum(outer, inner)
    return start, inner, outer, stop


def seen(logits: jax.Array, first_query: Any, first_key: Any, call: Call) -> jax.Array:
    """-inf where a query doesn't see a key."""
    i, j = (
        plgpu.broadcasted_iota(jnp.int32, logits.shape, axis, layout=plgpu.Layout.WGMMA)
        for axis in (0, 1)
    )
    i += first_query - first_key  # both count from the first key: one addition a row
    hidden = []
    if call.S % call.block_k != 0:
        hidden.append(j >= call.S - first_key)
    if call.left is not None:
        hidden.append(j < i - call.left)
    if call.right is not None:
        hidden.append(j > i + call.right)
    return jnp.where(functools.reduce(jnp.logical_or, hidden), -jnp.inf, logits)
