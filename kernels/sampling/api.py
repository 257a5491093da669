"""`sample` and `categorical`: their arguments' checks, randomness, and the choice of a backend."""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from kernels.dispatch import Implementation, choose
from kernels.sampling.filters import check_logits, check_min_p, check_top_k, check_top_p, gaps
from kernels.shares import on_shares

BACKENDS = ("reference", "xla", "mosaic_tpu", "triton")
METHODS = ("inverse_cdf", "gumbel")
BLOCK = 128  # tokens in a block of the two-level inverse; the same in every backend

type Method = Literal["inverse_cdf", "gumbel"]


class Draw(NamedTuple):
    """A token a row and its log-probability; -1 and NaN for a row without a distribution."""

    tokens_B: jax.Array
    log_probs_B: jax.Array


class Arrays(NamedTuple):
    logits_BxV: jax.Array
    uniforms_Bx2: jax.Array  # float32 multiples of 2^-24 in [0, 1): for the block, then inside it


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is known when the kernel is made; None is no filter. The temperature is positive."""

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    method: Method = "inverse_cdf"


def sample(
    logits_BxV: jax.Array,
    rng: jax.Array,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    implementation: Implementation = "auto",
) -> Draw:
    """A token a row from softmax(logits / temperature), filtered; with its log-probability there.

    The filters work in the order of transformers' generate, each on what the one before left,
    normalised again: `temperature`, `top_k` (the k likeliest), `top_p` (the smallest set of
    likeliest tokens of that mass), `min_p` (those at least min_p times as likely as the likeliest);
    see kernels/sampling/filters.py for ties. `temperature` 0 is argmax, the first of equals, of
    log-probability 0.

    A row's randomness is a function of `rng` and of its index alone, and all backends share it:
    other rows, and how many they are, don't matter, and two backends draw the same token unless
    their sums' last bits part at a boundary. Of two uniforms of 24 bits one picks a block of 128
    tokens and one a token in it, so probabilities are right to some 2^-24 of the block's, plus
    2^-24 that a block is off by; a token of probability 0 is never drawn.

    No gradient goes through a draw; `log_probs` of its tokens has one.

    A row with NaN or +inf, or of -inf alone, draws -1 with log-probability NaN: under
    `jax.debug_nans(True)` and checkify's nan_checks that is an error, in jit too.

    `implementation` is 'auto', a name of `BACKENDS` or a sequence of names, of which the first runs
    that takes the call. Raises ValueError for arguments that don't fit, naming the argument.
    """
    check_logits(logits_BxV)
    if not (temperature == 0 or 1e-30 <= temperature <= 1e30):
        raise ValueError(f"temperature must be 0, or from 1e-30 to 1e30, got {temperature}")
    if top_k is not None:
        check_top_k(top_k, logits_BxV.shape[1])
    if top_p is not None:
        check_top_p(top_p)
    if min_p is not None:
        check_min_p(min_p)
    arrays = Arrays(logits_BxV, uniforms(rng, logits_BxV.shape[0]))
    settings = Settings(temperature or 1.0, top_k, top_p, min_p)
    backend = choose("kernels.sampling", BACKENDS, implementation, arrays, settings)
    if not temperature:
        return likeliest(logits_BxV)
    return on_shares(
        backend,
        lambda arrays: backend.draw(arrays, settings),
        jax.lax.stop_gradient(arrays),
        batch=len(logits_BxV),
        split=True,
        split_out=True,
    )


def categorical(
    logits_BxV: jax.Array,
    rng: jax.Array,
    *,
    method: Method = "inverse_cdf",
    implementation: Implementation = "auto",
) -> jax.Array:
    """A token a row from softmax(logits), int32 (B,); -1 for a row without a distribution.

    'inverse_cdf' is `sample` without filters: two random numbers a row. 'gumbel' is the argmax of
    logits + Gumbel noise, V random numbers a row (Maddison et al., 1411.0030); XLA alone makes it.
    Draws, backends and errors are those of `sample`.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if method == "inverse_cdf":
        return sample(logits_BxV, rng, implementation=implementation).tokens_B
    check_logits(logits_BxV)
    arrays = Arrays(logits_BxV, uniforms(rng, logits_BxV.shape[0]))
    choose("kernels.sampling", BACKENDS, implementation, arrays, Settings(method=method))
    return gumbel_max(logits_BxV, rng)


@jax.jit
def gumbel_max(logits_BxV: jax.Array, rng: jax.Array) -> jax.Array:
    batch, size = logits_BxV.shape
    noise_BxV = jax.vmap(lambda key: jax.random.gumbel(key, (size,)))(row_keys(rng, batch))
    gap_BxV = gaps(logits_BxV)
    tokens_B = jnp.argmax(noise_BxV - gap_BxV, axis=1).astype(jnp.int32)
    return jnp.where(jnp.any(gap_BxV == 0, axis=1), tokens_B, -1)


@jax.jit
def likeliest(logits_BxV: jax.Array) -> Draw:
    first_BxV = gaps(logits_BxV) == 0
    good_B = jnp.any(first_BxV, axis=1)
    tokens_B = jnp.where(good_B, jnp.argmax(first_BxV, axis=1).astype(jnp.int32), -1)
    return Draw(tokens_B, jnp.where(good_B, 0.0, jnp.nan))


def uniforms(rng: jax.Array, batch: int) -> jax.Array:
    """Two a row, (B, 2)."""
    bits_Bx2 = jax.vmap(lambda key: jax.random.bits(key, (2,), "uint32"))(row_keys(rng, batch))
    return (bits_Bx2 >> 8).astype(jnp.float32) * jnp.float32(2**-24)


def row_keys(rng: jax.Array, batch: int) -> jax.Array:
    return jax.vmap(jax.random.fold_in, (None, 0))(rng, jnp.arange(batch))
