"""Classifier-free guidance: a wrapper of two denoisers that any sampler takes."""

from jaxtyping import Array

from research.sampling.denoisers import Denoiser, Prediction


def guided(conditional: Denoiser, unconditional: Denoiser, guidance: Array | float) -> Denoiser:
    """(1 + w) conditional - w unconditional, with w = `guidance` (2207.12598, eq. 6).

    w = 0 is the conditional denoiser, w = -1 the unconditional one. (Where the scale is written
    as unconditional + s (conditional - unconditional), s = 1 + w.) The combination of x_0 equals
    that of eps, both being affine in each other. A learned variance is the conditional's.
    """

    def denoise(x: Array, t: Array) -> Prediction:
        with_class, without = conditional(x, t), unconditional(x, t)
        x0 = (1 + guidance) * with_class.x0 - guidance * without.x0
        return with_class._replace(x0=x0)

    return denoise
