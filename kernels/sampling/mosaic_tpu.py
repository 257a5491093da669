"""Sampling on a TPU in Pallas: a row is read once, and searched and drawn from in VMEM.

A grid step takes a few rows. Every pass over them is a loop over chunks of their lanes; what it
keeps of a row is a number in a column (rows, 1).
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from kernels.blocks import Blocks, chosen, round_up
from kernels.machine import pallas_interpreter
from kernels.sampling.api import BLOCK, Arrays, Draw, Settings
from kernels.sampling.filters import WEIGHT_BITS, widest_gap

ROWS = 8
DEFAULT: Blocks = {"chunk": 1024}
LONGEST = 3 * 2**17  # a row's tokens; four float32 copies of 8 such rows are 48 MiB of VMEM
INFINITY_BITS = 0x7F800000


def refuses(arrays: Arrays, settings: Settings) -> str | None:
    """Why this backend doesn't take the call, or None."""
    if settings.method != "inverse_cdf":
        return "XLA makes Gumbel noise"
    if arrays.logits_BxV.dtype == jnp.float16:
        return "takes float32 and bfloat16, got float16"
    if arrays.logits_BxV.shape[1] > LONGEST:
        return f"takes up to {LONGEST} tokens, got {arrays.logits_BxV.shape[1]}"
    return None


def draw(arrays: Arrays, settings: Settings) -> Draw:
    """A token a row and its log-probability."""
    chunk = chosen("kernels.sampling", "mosaic_tpu", "sample", DEFAULT)["chunk"]
    return launch(arrays, settings, chunk, pallas_interpreter())


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def launch(arrays: Arrays, settings: Settings, chunk: int, interpret: Any) -> Draw:
    batch, size = arrays.logits_BxV.shape
    chunk = min(chunk, round_up(size, BLOCK))
    padded = round_up(size, chunk)
    column = pl.BlockSpec((ROWS, 1), lambda i: (i, 0))
    tokens_Bx1, log_probs_Bx1 = pl.pallas_call(
        functools.partial(kernel, size=size, chunk=chunk, settings=settings),
        name="sample",
        out_shape=(
            jax.ShapeDtypeStruct((batch, 1), jnp.int32),
            jax.ShapeDtypeStruct((batch, 1), jnp.float32),
        ),
        grid=(pl.cdiv(batch, ROWS),),
        in_specs=[
            pl.BlockSpec((ROWS, padded), lambda i: (i, 0)),
            pl.BlockSpec((ROWS, 2), lambda i: (i, 0)),
        ],
        out_specs=(column, column),
        scratch_shapes=[pltpu.VMEM((ROWS, padded), jnp.float32)] * 2,
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel",), vmem_limit_bytes=20 * ROWS * padded + 2**21
        ),
        cost_estimate=pl.CostEstimate(
            flops=4 * batch * size,
            bytes_accessed=arrays.logits_BxV.nbytes,
            transcendentals=batch * size,
        ),
        interpret=interpret,
    )(*arrays)
    return Draw(tokens_Bx1[:, 0], log_probs_Bx1[:, 0])


@dataclasses.dataclass(frozen=True)
class Row:
    """How rows lie in VMEM: `chunks` of `chunk` lanes, of which the first `size` are tokens."""

    size: int
    chunk: int
    chunks: int

    def lanes(self, i: Any) -> Any:
        return pl.ds(pl.multiple_of(i * self.chunk, BLOCK), self.chunk)

    def tokens(self, i: Any) -> jax.Array:
        """The index of each token of chunk i."""
        return i * self.chunk + lax.broadcasted_iota(jnp.int32, (ROWS, self.chunk), 1)

    def fold(self, step: Callable[[Any, Any], Any], start: Any) -> Any:
        return lax.fori_loop(0, self.chunks, step, start)

    def total(self, of_chunk: Callable[[Any], jax.Array]) -> jax.Array:
        """The sum over all lanes, (rows, 1)."""
        start = jnp.zeros((ROWS, self.chunk), jnp.float32)
        lanes = self.fold(lambda i, total: total + of_chunk(i), start)
        return jnp.sum(lanes, axis=1, keepdims=True)

    def write(self, ref: Any, of_chunk: Callable[[Any], jax.Array]) -> None:
        def step(i: Any, carry: None) -> None:
            ref[:, self.lanes(i)] = of_chunk(i)

        self.fold(step, None)


def kernel(
    logits_ref: Any,
    uniforms_ref: Any,
    tokens_ref: Any,
    log_probs_ref: Any,
    gap_ref: Any,
    weight_ref: Any,
    *,
    size: int,
    chunk: int,
    settings: Settings,
) -> None:
    row = Row(size, chunk, gap_ref.shape[1] // chunk)
    write_gaps(row, logits_ref, gap_ref, settings.temperature)
    if settings.top_k is not None:
        keep_top_k(row, gap_ref, settings.top_k)
    row.write(weight_ref, lambda i: jnp.exp(-gap_ref[:, row.lanes(i)]))
    if settings.top_p is not None and settings.top_p < 1:
        keep_top_p(row, weight_ref, settings.top_p)
    if settings.min_p is not None:
        widest = widest_gap(settings.min_p)
        row.write(
            weight_ref,
            lambda i: jnp.where(
                gap_ref[:, row.lanes(i)] <= widest, weight_ref[:, row.lanes(i)], 0.0
            ),
        )
    total, index, weight = pick_block(row, weight_ref, uniforms_ref[:, 0:1])
    inside, drawn = pick_inside(weight, uniforms_ref[:, 1:2])
    good = total > 0  # a bad row's is NaN or 0
    tokens_ref[...] = jnp.where(good, index * BLOCK + inside, -1)
    log_probs_ref[...] = jnp.where(good, jnp.log(drawn) - jnp.log(total), jnp.nan)


def write_gaps(row: Row, logits_ref: Any, gap_ref: Any, temperature: float) -> None:
    """(max logit - logit) / temperature; infinity beyond the row, NaN all over a row with NaN."""

    def logits(i: Any) -> jax.Array:
        values = logits_ref[:, row.lanes(i)].astype(jnp.float32)
        return jnp.where(row.tokens(i) < row.size, values, -jnp.inf)

    lowest = jnp.full((ROWS, row.chunk), -jnp.inf, jnp.float32)
    highest = row.fold(lambda i, highest: jnp.maximum(highest, logits(i)), lowest)
    highest = jnp.max(highest, axis=1, keepdims=True)
    # A maximum may pass over NaN.
    broken = row.total(lambda i: jnp.where(logits(i) != logits(i), 1.0, 0.0)) > 0
    highest = jnp.where(broken, jnp.nan, highest)
    row.write(gap_ref, lambda i: (highest - logits(i)) * jnp.float32(1 / temperature))


def keep_top_k(row: Row, gap_ref: Any, k: int) -> None:
    """Sets the gap of all but the first k in rank to infinity."""

    def nearer(bits: jax.Array) -> jax.Array:
        limit = lax.bitcast_convert_type(bits, jnp.float32)
        return row.total(lambda i: jnp.where(gap_ref[:, row.lanes(i)] < limit, 1.0, 0.0))

    bits = largest(lambda bits: (bits <= INFINITY_BITS) & (nearer(bits) < k), 31)
    limit = lax.bitcast_convert_type(bits, jnp.float32)
    last = last_equal(row, gap_ref, limit, k - nearer(bits))

    def kept(i: Any) -> jax.Array:
        gap = gap_ref[:, row.lanes(i)]
        first = (gap < limit) | ((gap == limit) & (row.tokens(i) <= last))
        return jnp.where(first | (gap != gap), gap, jnp.inf)

    row.write(gap_ref, kept)


def keep_top_p(row: Row, weight_ref: Any, p: float) -> None:
    """Sets the weight of all but the nucleus to 0: the search of filters.leading."""

    def mass_from(bits: jax.Array) -> jax.Array:
        least = lax.bitcast_convert_type(bits, jnp.float32)

        def above(i: Any) -> jax.Array:
            weight = weight_ref[:, row.lanes(i)]
            return jnp.where(weight >= least, weight, 0.0)

        return row.total(above)

    goal = jnp.float32(p) * row.total(lambda i: weight_ref[:, row.lanes(i)])
    bits = largest(lambda bits: mass_from(bits) >= goal, WEIGHT_BITS)
    least = lax.bitcast_convert_type(bits, jnp.float32)
    needed = jnp.ceil((goal - mass_from(bits + 1)) / least)
    last = last_equal(row, weight_ref, least, needed)

    def kept(i: Any) -> jax.Array:
        weight = weight_ref[:, row.lanes(i)]
        first = (weight > least) | ((weight == least) & (row.tokens(i) <= last))
        return jnp.where(first | (weight != weight), weight, 0.0)

    row.write(weight_ref, kept)


def last_equal(row: Row, ref: Any, value: jax.Array, needed: jax.Array) -> jax.Array:
    """The index of the `needed`th that equals `value`; where there are no more, a later one."""

    def before(index: jax.Array) -> jax.Array:
        return row.total(
            lambda i: jnp.where((ref[:, row.lanes(i)] == value) & (row.tokens(i) < index), 1.0, 0.0)
        )

    split = before(jnp.full((ROWS, 1), row.size, jnp.int32)) > needed
    # Few calls have a tie to split: then the search makes no step.
    bits = jnp.where(jnp.max(split.astype(jnp.float32)) > 0, row.size.bit_length(), 0)
    found = largest(lambda index: before(index) < needed, bits)
    return jnp.where(split, found, row.size)


def largest(holds: Callable[[jax.Array], jax.Array], bits: Any) -> jax.Array:
    """The largest int32 of so many bits for which `holds`, which is true of 0 and monotone."""

    def step(i: Any, found: jax.Array) -> jax.Array:
        higher = found | (jnp.int32(1) << (bits - 1 - i))
        return jnp.where(holds(higher), higher, found)

    return lax.fori_loop(0, bits, step, jnp.zeros((ROWS, 1), jnp.int32))


def pick_block(
    row: Row, weight_ref: Any, uniform: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """All weight, and a block of 128 tokens: the last with any that starts by the uniform's share.

    The block is its index (rows, 1) and its weights (rows, 128).
    """
    many = row.chunk // BLOCK

    def blocks(i: Any) -> list[tuple[Any, jax.Array, jax.Array]]:
        found = []
        for index in (i * many + j for j in range(many)):
            weight = weight_ref[:, pl.ds(pl.multiple_of(index * BLOCK, BLOCK), BLOCK)]
            found.append((index, weight, jnp.sum(weight, axis=1, keepdims=True)))
        return found

    def add(i: Any, total: jax.Array) -> jax.Array:
        return sum((mass for _, _, mass in blocks(i)), total)

    nothing = jnp.zeros((ROWS, 1), jnp.float32)
    total = row.fold(add, nothing)
    target = uniform * total

    def choose(i: Any, carry: Any) -> Any:
        start, chosen_index, chosen_weight = carry
        for index, weight, mass in blocks(i):
            hit = (mass > 0) & (start <= target)
            chosen_index = jnp.where(hit, index, chosen_index)
            chosen_weight = jnp.where(hit, weight, chosen_weight)
            start += mass
        return start, chosen_index, chosen_weight

    none = (nothing, jnp.zeros((ROWS, 1), jnp.int32), jnp.zeros((ROWS, BLOCK), jnp.float32))
    return total, *row.fold(choose, none)[1:]


def pick_inside(weight: jax.Array, uniform: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A lane and its weight: the last with any that starts by the uniform's share."""
    lane = lax.broadcasted_iota(jnp.int32, weight.shape, 1)
    ends = weight
    for shift in (1, 2, 4, 8, 16, 32, 64):
        ends += jnp.where(lane >= shift, pltpu.roll(ends, shift, 1), 0.0)
    starts = jnp.where(lane >= 1, pltpu.roll(ends, 1, 1), 0.0)
    total = jnp.sum(jnp.where(lane == BLOCK - 1, ends, 0.0), axis=1, keepdims=True)
    may_be = (weight > 0) & (starts <= uniform * total)
    inside = jnp.max(jnp.where(may_be, lane, 0), axis=1, keepdims=True)
    return inside, jnp.sum(jnp.where(lane == inside, weight, 0.0), axis=1, keepdims=True)
