"""p(x | z) of images: Bernoulli for binary pixels, Gaussian for pixels in [-1, 1]."""

import abc
import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt16

from research.data.scaling import scaled
from research.errors import InputError, check_choice
from research.training.types import Params, Rng, Scalar

Observed = Float[Array, "*#B H W C"]  # what is modelled: pixels in [-1, 1], binary ones -1 or 1


class Likelihood(abc.ABC):
    """A distribution of images whose parameters are a decoder's output, pixel by pixel."""

    @abc.abstractmethod
    def observed(self, image: Any, rng: Rng) -> Observed:
        """What is modelled of images of integers 0..levels - 1."""

    @abc.abstractmethod
    def log_prob(self, params: Params, x: Observed, output: Observed) -> Float[Array, "*#B"]:
        """log p(x | output) in nats, summed over an image's pixels; leading axes broadcast."""

    @abc.abstractmethod
    def mean(self, output: Observed) -> Observed:
        """E[x] in [-1, 1]."""

    @abc.abstractmethod
    def marginal(
        self, mean: Float[Array, "H W C"], square: Float[Array, "H W C"]
    ) -> tuple[Params, Float[Array, "H W C"]]:
        """The parameters and the one output for all images, fitted to E[x] and E[x^2]."""

    def init_params(self) -> Params:
        """What is learned beside the networks: by default nothing."""
        return {}


class Bernoulli(Likelihood):
    """Independent binary pixels; the output is the logit of a pixel's being 1.

    `binarize` 'dynamic' draws a pixel as 1 with probability image / (levels - 1), to 2^-17, anew
    at each call (1509.00519, section 5); 'none' needs 2 levels. Probabilities are of binary
    images, so nats are bits times ln 2 with no density in them.
    """

    def __init__(self, *, levels: int, binarize: str = "none"):
        check_choice("binarize", binarize, ("none", "dynamic"))
        if binarize == "none" and levels != 2:
            raise InputError(
                f"likelihood 'bernoulli' is of pixels that are 0 or 1, these have {levels} levels; "
                "set method.binarize to 'dynamic', or method.likelihood to 'gaussian'"
            )
        self.levels, self.binarize = levels, binarize

    def observed(self, image: Any, rng: Rng) -> Observed:
        if self.binarize == "none":
            return scaled(jnp.asarray(image), self.levels)
        image = jnp.asarray(image)
        white = jnp.round(image.astype(jnp.float32) * (2**16 / (self.levels - 1)))
        return jnp.where(random_uint16(rng, image.shape) < white, 1.0, -1.0)

    def log_prob(self, params: Params, x: Observed, output: Observed) -> Float[Array, "*#B"]:
        return sum_log_sigmoid(x * output)

    def mean(self, output: Observed) -> Observed:
        return jnp.tanh(output / 2)

    def marginal(
        self, mean: Float[Array, "H W C"], square: Float[Array, "H W C"]
    ) -> tuple[Params, Float[Array, "H W C"]]:
        return {}, 2 * jnp.arctanh(mean)


class Gaussian(Likelihood):
    """Independent Gaussian pixels in [-1, 1] of one standard deviation; the output is the mean.

    `std` None is a learned scalar, 1 at first. Nats are of a density over [-1, 1]: subtract
    log((levels - 1) / 2) a pixel for one over 0..levels - 1, as bits per dimension are told.
    """

    def __init__(self, *, levels: int, binarize: str = "none", std: float | None = None):
        if binarize != "none":
            raise InputError(f"likelihood 'gaussian' takes no binarize, not {binarize!r}")
        if std is not None and std <= 0:
            raise InputError(f"std is {std}; a Gaussian's is above 0")
        self.levels, self.std = levels, std

    def init_params(self) -> Params:
        return {"log_std": jnp.zeros(())} if self.std is None else {}

    def observed(self, image: Any, rng: Rng) -> Observed:
        return scaled(jnp.asarray(image), self.levels)

    def log_prob(self, params: Params, x: Observed, output: Observed) -> Float[Array, "*#B"]:
        log_std = self.log_std(params)
        errors = jnp.sum((x - output) ** 2, axis=(-3, -2, -1)) * jnp.exp(-2 * log_std)
        return -0.5 * errors - math.prod(x.shape[-3:]) * (log_std + 0.5 * math.log(2 * math.pi))

    def mean(self, output: Observed) -> Observed:
        return jnp.clip(output, -1, 1)

    def marginal(
        self, mean: Float[Array, "H W C"], square: Float[Array, "H W C"]
    ) -> tuple[Params, Float[Array, "H W C"]]:
        variance = jnp.mean(square - mean**2)
        return {"log_std": 0.5 * jnp.log(variance)} if self.std is None else {}, mean

    def log_std(self, params: Params) -> Scalar:
        return params["log_std"] if self.std is None else jnp.log(jnp.float32(self.std))


def likelihood_named(
    name: str, *, levels: int, binarize: str = "none", std: float | None = None
) -> Likelihood:
    """'bernoulli' or 'gaussian'. Raises InputError: another name, or data outside its support."""
    check_choice("likelihood", name, ("bernoulli", "gaussian"))
    if name == "gaussian":
        return Gaussian(levels=levels, binarize=binarize, std=std)
    if std is not None:
        raise InputError("std is an option of likelihood 'gaussian', not of 'bernoulli'")
    return Bernoulli(levels=levels, binarize=binarize)


@jax.custom_jvp
def sum_log_sigmoid(x_HxWxC: Float[Array, "*B H W C"]) -> Float[Array, "*B"]:
    """The sum of log 1 / (1 + exp(-x)) over the last three axes.

    The log of a product of up to 64 factors, each in [1, 2], is the sum of their logs for the
    price of one. Both sums go over x once: of all that an IWAE computes on a CPU, next to its
    matrix products this takes longest.
    """
    pixels = math.prod(x_HxWxC.shape[-3:])
    factors = math.gcd(pixels, 64)
    x_NxF = x_HxWxC.reshape(*x_HxWxC.shape[:-3], pixels // factors, factors)
    terms = (jnp.minimum(x_NxF, 0), 1 + jnp.exp(-jnp.abs(x_NxF)))
    sums_N, products_N = jax.lax.reduce(
        terms,
        (jnp.zeros((), x_NxF.dtype), jnp.ones((), x_NxF.dtype)),
        lambda so_far, term: (so_far[0] + term[0], so_far[1] * term[1]),
        (x_NxF.ndim - 1,),
    )
    return jnp.sum(sums_N - jnp.log(products_N), axis=-1)


@sum_log_sigmoid.defjvp
def _sum_log_sigmoid_jvp(primals: tuple, tangents: tuple) -> tuple:
    (x,), (tangent,) = primals, tangents
    slope = 0.5 - 0.5 * jnp.tanh(x / 2)
    return sum_log_sigmoid(x), jnp.sum(tangent * slope, axis=(-3, -2, -1))


def random_uint16(rng: Rng, shape: tuple[int, ...]) -> UInt16[Array, "*shape"]:
    """Uniform over 0..2^16 - 1: two of each 32 random bits, which are what a draw costs."""
    count = math.prod(shape)
    bits = jax.random.bits(rng, ((count + 1) // 2,), jnp.uint32)
    return jax.lax.bitcast_convert_type(bits, jnp.uint16).reshape(-1)[:count].reshape(shape)
