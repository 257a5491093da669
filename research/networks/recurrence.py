"""Recurrences over time: the cells, and a scan of one whose gradient is made chunk by chunk.

What has no order in time is a product of a whole chunk of steps: the inputs', and in the backward
pass the gates made again and the weights' gradients. Only the states are kept, so gates never
leave the cache. Times are in papers/tcn/README.md.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kernels.blocks import largest_divisor
from kernels.machine import machine

State = tuple[Array, ...]  # the hidden state first, each (B, H)
MOST = 8  # steps of a chunk, whose gates a core's own cache holds


class Cell(NamedTuple):
    """`step(state, from_input, from_state)` is the next state; both are (B, gates * H)."""

    step: Callable[[State, Array, Array], State]
    gates: int
    states: int


class Weights(NamedTuple):
    """A cell's parameters, the gates side by side in the last axis, G = gates * H."""

    input: Float[Array, "C G"]
    recurrent: Float[Array, "H G"]
    input_bias: Float[Array, " G"]
    recurrent_bias: Float[Array, " G"]


def rnn(state: State, from_input: Array, from_state: Array) -> State:
    """h' = tanh(W x + U h), Elman's."""
    return (jnp.tanh(from_input + from_state),)


def lstm(state: State, from_input: Array, from_state: Array) -> State:
    """Hochreiter and Schmidhuber's with a forget gate; gates are i, f, g, o."""
    _, c = state
    i, f, g, o = apart(*jnp.split(from_input + from_state, 4, axis=-1))
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def gru(state: State, from_input: Array, from_state: Array) -> State:
    """1406.1078 with the reset after the product, as cuDNN has it; gates are r, z, n."""
    (h,) = state
    r, z, _ = jnp.split(from_input + from_state, 3, axis=-1)
    width = 2 * h.shape[-1]
    r, z, of_input, of_state = apart(r, z, from_input[..., width:], from_state[..., width:])
    n, z = jnp.tanh(of_input + jax.nn.sigmoid(r) * of_state), jax.nn.sigmoid(z)
    return ((1 - z) * n + z * h,)


def apart(*slices: Array) -> tuple[Array, ...]:
    """Slices, on a CPU as arrays of their own: XLA vectorises no tanh that reads them in place."""
    return jax.lax.optimization_barrier(slices) if machine().platform == "cpu" else slices


CELLS = {"rnn": Cell(rnn, 1, 1), "lstm": Cell(lstm, 4, 2), "gru": Cell(gru, 3, 1)}


def step(
    cell: Cell, weights: Weights, inputs: Float[Array, "B C"], state: State
) -> tuple[Array, ...]:
    """The next state."""
    from_input = inputs @ weights.input + weights.input_bias
    return cell.step(state, from_input, state[0] @ weights.recurrent + weights.recurrent_bias)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def recurrence(
    cell: Cell,
    weights: Weights,
    inputs: Float[Array, "T B C"],
    state: State,
    keep: Float[Array, "T B 1"] | None = None,
) -> Float[Array, "T B H"]:
    """The hidden states after each step from `state` on.

    Before step t the state is multiplied by `keep[t]`: where that is 0, a sequence begins.
    """
    return _forward(cell, weights, inputs, state, keep)[0]


def _forward(
    cell: Cell, weights: Weights, inputs: Array, state: State, keep: Array | None
) -> tuple[Array, tuple]:
    def chunk(state: State, x: tuple) -> tuple[State, tuple[State, Array]]:
        inputs, keep = x
        from_inputs = inputs @ weights.input + weights.input_bias

        def one(state: State, x: tuple) -> tuple[State, tuple[State, Array]]:
            from_input, keep = x
            before = state if keep is None else tuple(part * keep for part in state)
            product = before[0] @ weights.recurrent + weights.recurrent_bias
            after = cell.step(before, from_input, product)
            return after, (before, after[0])

        return jax.lax.scan(one, state, (from_inputs, keep))

    _, (before, hidden) = jax.lax.scan(chunk, state, _chunks((inputs, keep)))
    return _whole(hidden), (weights, inputs, keep, before)


def _backward(cell: Cell, saved: tuple, dhidden: Array) -> tuple:
    weights, inputs, keep, before = saved
    # Turned once: a product with the transpose would turn it at each step.
    turned = jax.lax.optimization_barrier(weights.recurrent.T)

    def pullback(state: State, from_input: Array, from_state: Array) -> Callable:
        return jax.vjp(cell.step, state, from_input, from_state)[1]

    def chunk(carry: tuple[State, Weights], x: tuple) -> tuple[tuple[State, Weights], Array]:
        dstate, total = carry
        inputs, keep, before, dhidden = x
        from_inputs = inputs @ weights.input + weights.input_bias
        from_states = before[0] @ weights.recurrent + weights.recurrent_bias
        pulls = jax.lax.optimization_barrier(jax.vmap(pullback)(before, from_inputs, from_states))

        def one(dstate: State, x: tuple) -> tuple[State, tuple[Array, Array]]:
            pull, keep, dh = x
            dstate, dinput, dproduct = pull((dstate[0] + dh, *dstate[1:]))
            dstate = (dstate[0] + dproduct @ turned, *dstate[1:])
            dstate = dstate if keep is None else tuple(part * keep for part in dstate)
            return dstate, (dinput, dproduct)

        dstate, (dinputs, dproducts) = jax.lax.scan(
            one, dstate, (pulls, keep, dhidden), reverse=True
        )
        here = Weights(
            jnp.einsum("tbc,tbg->cg", inputs, dinputs),
            jnp.einsum("tbh,tbg->hg", before[0], dproducts),
            dinputs.sum((0, 1)),
            dproducts.sum((0, 1)),
        )
        return (dstate, jax.tree.map(jnp.add, total, here)), dinputs @ weights.input.T

    zero = (
        tuple(jnp.zeros_like(part[0, 0]) for part in before),
        jax.tree.map(jnp.zeros_like, weights),
    )
    chunks = (*_chunks((inputs, keep)), before, *_chunks((dhidden,)))
    (dstate, dweights), dinputs = jax.lax.scan(chunk, zero, chunks, reverse=True)
    return dweights, _whole(dinputs), dstate, None if keep is None else jnp.zeros_like(keep)


recurrence.defvjp(_forward, _backward)


def _chunks(arrays: tuple[Array | None, ...]) -> tuple[Array | None, ...]:
    """Each (T, ...) as (T / steps, steps, ...)."""
    steps = largest_divisor(len(next(a for a in arrays if a is not None)), MOST)
    return jax.tree.map(lambda array: array.reshape(-1, steps, *array.shape[1:]), arrays)


def _whole(array: Array) -> Array:
    return array.reshape(-1, *array.shape[2:])
