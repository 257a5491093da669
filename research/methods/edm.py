"""EDM: continuous-time diffusion with preconditioned denoising."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from research.data import pipelines
from research.data.examples import Dataset
from research.data.scaling import scaled
from research.errors import InputError, check_least
from research.evaluation.pixel_moments import moments
from research.methods.denoising import (
    check_label_dropout,
    labels_to_draw,
    solver_named,
    training_labels,
)
from research.methods.labels import check_classes
from research.methods.variational_bound import aligned
from research.sampling.denoisers import Denoiser, Prediction, clipped
from research.sampling.guidance import guided
from research.sampling.schedules import karras
from research.training.method import Aux, Method, Objective
from research.training.optimizers import averaged
from research.training.rng import named
from research.training.state import TrainState
from research.training.types import Batch, Metrics, Params, Rng, Scalar


class EDM(Method):
    """The design of 2206.00364, Table 1, last column, without its data augmentation.

    A batch, the network and the labels are as `Diffusion` has them. `sigma_data` is the standard
    deviation of the data in [-1, 1]; log sigma ~ N(p_mean, p_std^2) in training.
    """

    def __init__(
        self,
        *,
        network: Any,
        optimizer: optax.GradientTransformation,
        image_shape: tuple[int, int, int],
        levels: int,
        num_classes: int = 0,
        label_dropout: float = 0.1,
        sigma_data: float = 0.5,
        p_mean: float = -1.2,
        p_std: float = 1.2,
        sigma_min: float = 0.002,
        sigma_max: float = 80.0,
    ):
        if not 0 < sigma_min < sigma_max:
            raise InputError(f"sigma_min={sigma_min} must be in (0, sigma_max={sigma_max})")
        if sigma_data <= 0:
            raise InputError(f"sigma_data is {sigma_data}; it must be more than 0")
        check_least(0, p_std=p_std)
        check_label_dropout(label_dropout)
        self.network, self.optimizer = network, optimizer
        self.image_shape, self.levels = tuple(image_shape), levels
        check_classes(num_classes, network=network)
        self.num_classes, self.label_dropout = num_classes, label_dropout
        self.sigma_data, self.p_mean, self.p_std = sigma_data, p_mean, p_std
        self.sigma_min, self.sigma_max = sigma_min, sigma_max
        self._draw = jax.jit(self.draw, static_argnames=("count", "solver", "steps", "eta"))

    def init_params(self, rng: Rng, batch: Batch) -> dict[str, Params]:
        """Fresh parameters; raises InputError unless the network's output is an image."""
        images = jnp.zeros((1, *self.image_shape))
        output, variables = self.network.init_with_output(rng, images, jnp.zeros(1))
        if output.shape != images.shape:
            raise InputError(
                f"edm needs a network of {self.image_shape[-1]} output channels, not "
                f"{output.shape[-1]}: set its out_factor to 1"
            )
        return {"model": variables["params"]}

    def objectives(self) -> Sequence[Objective]:
        return [Objective("model", self.loss, self.optimizer)]

    def loss(self, params: Params, state: TrainState, batch: Batch, rng: Rng) -> tuple[Scalar, Aux]:
        """The mean of `denoising_error` over one log-normal sigma an example."""
        labels = training_labels(
            batch,
            named(rng, "label"),
            num_classes=self.num_classes,
            label_dropout=self.label_dropout,
        )
        x0 = scaled(batch["image"], self.levels)
        return jnp.mean(self.denoising_error(params, x0, labels, rng, train=True)), Aux()

    def denoising_error(
        self, params: Params, x0: Array, labels: Array | None, rng: Rng, *, train: bool
    ) -> Float[Array, " B"]:
        """lambda(sigma) |D(x_0 + sigma eps; sigma) - x_0|^2 averaged over pixels (eq. 2, 8).

        lambda = (sigma^2 + sigma_data^2) / (sigma sigma_data)^2 makes it 1 at first, for any sigma,
        if `sigma_data` is the data's and their mean 0.
        """
        normal = jax.random.normal(named(rng, "sigma"), x0.shape[:1])
        sigma = jnp.exp(self.p_mean + self.p_std * normal)
        eps = jax.random.normal(named(rng, "eps"), x0.shape)
        x = x0 + aligned(sigma, x0) * eps
        dropout = named(rng, "dropout")
        denoised = self.precondition(params, x, sigma, labels, train=train, dropout=dropout)
        return self.weight(sigma**2) * jnp.mean((denoised - x0) ** 2, axis=(1, 2, 3))

    def weight(self, variance: Any) -> Any:
        """lambda(sigma) by sigma^2."""
        return (variance + self.sigma_data**2) / (variance * self.sigma_data**2)

    def precondition(
        self,
        params: Params,
        x: Float[Array, "B H W C"],
        sigma: Float[Array, " B"],
        labels: Array | None,
        *,
        train: bool = False,
        dropout: Rng | None = None,
    ) -> Float[Array, "B H W C"]:
        """D(x; sigma) = c_skip x + c_out F(c_in x; c_noise) (eq. 7 and Table 1)."""
        total = jnp.sqrt(sigma**2 + self.sigma_data**2)
        c_skip = self.sigma_data**2 / total**2
        c_out = sigma * self.sigma_data / total
        c_noise = jnp.log(sigma) / 4
        inputs = x / aligned(total, x)
        rngs = {} if dropout is None else {"dropout": dropout}
        output = self.network.apply(
            {"params": params}, inputs, c_noise, labels, train=train, rngs=rngs
        )
        return aligned(c_skip, x) * x + aligned(c_out, x) * output

    def evaluate(self, state: TrainState, batch: Batch, rng: Rng) -> Metrics:
        """`denoising_error` (B,) of the averaged weights, at one log-normal sigma an example."""
        labels = batch["label"] if self.num_classes else None
        x0 = scaled(batch["image"], self.levels)
        params = averaged(state, "model")
        return {"denoising_error": self.denoising_error(params, x0, labels, rng, train=False)}

    def trivial(self, train: Dataset, test: Dataset) -> Mapping[str, Mapping[str, float]]:
        """`denoising_error` by the best denoiser of independent Gaussian pixels.

        They have the training images' `moments`; the mean is over sigma and the noise too.
        """
        mean, square = moments(self.observed(train))
        variance = square - mean**2
        missed = sum(np.square(x - mean).sum(axis=0) for x in self.observed(test)) / len(test)
        nodes, shares = np.polynomial.hermite_e.hermegauss(40)
        errors = []
        for noise in np.exp(2 * (self.p_mean + self.p_std * nodes)):
            # D(x) = (noise * mean + variance * x) / (noise + variance).
            error = (noise**2 * missed + variance**2 * noise) / (noise + variance) ** 2
            errors.append(self.weight(noise) * error.mean())
        found = np.average(errors, weights=shares)
        return {"denoising_error": {"independent_pixels": float(found)}}

    def observed(self, data: Dataset) -> Iterator[np.ndarray]:
        """The images of a set in [-1, 1], some at a time."""
        return (np.asarray(scaled(x["image"], self.levels)) for x in pipelines.whole(data))

    def sample(
        self,
        state: TrainState,
        rng: Rng,
        *,
        count: int,
        solver: str = "heun",
        steps: int = 18,
        guidance: float = 0.0,
        eta: float = 0.0,
        labels: Sequence[int] | Array | None = None,
    ) -> dict[str, Any]:
        """`images` (count, H, W, C) in [-1, 1] and `labels`, as `Diffusion.sample` has them.

        `steps` sigmas of `karras`; Heun's method calls the network 2 steps - 1 times.
        """
        check_least(1, steps=steps)
        solver_named(solver, eta=eta)
        labels = labels_to_draw(
            labels,
            count=count,
            num_classes=self.num_classes,
            guidance=guidance,
            label_dropout=self.label_dropout,
        )
        weights = averaged(state, "model")
        images = self._draw(
            weights, rng, labels, guidance or None, count=count, solver=solver, steps=steps, eta=eta
        )
        return {"images": images} | ({} if labels is None else {"labels": labels})

    def draw(
        self,
        params: Params,
        rng: Rng,
        labels: Array | None,
        guidance: Scalar | float | None,
        *,
        count: int,
        solver: str,
        steps: int,
        eta: float,
    ) -> Float[Array, "B H W C"]:
        """`sample` as a pure function of the parameters; no guidance is None."""
        schedule = karras(steps, sigma_min=self.sigma_min, sigma_max=self.sigma_max)
        noise = jax.random.normal(named(rng, "x"), (count, *self.image_shape))
        denoise = self.denoiser(params, labels, guidance)
        solve = solver_named(solver, eta=eta)
        return solve(denoise, self.sigma_max * noise, schedule, named(rng, "solver"))

    def denoiser(
        self,
        params: Params,
        labels: Array | None = None,
        guidance: Scalar | float | None = None,
    ) -> Denoiser:
        """D(x; sigma) as samplers take it: t is sigma; clipped to [-1, 1] after any guidance."""

        def conditioned(labels: Array | None) -> Denoiser:
            def denoise(x: Array, t: Array) -> Prediction:
                sigma = jnp.broadcast_to(t, x.shape[:1])
                return Prediction(self.precondition(params, x, sigma, labels))

            return denoise

        if guidance is None:
            return clipped(conditioned(labels))
        return clipped(guided(conditioned(labels), conditioned(None), guidance))
