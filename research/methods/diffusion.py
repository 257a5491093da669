"""Denoising diffusion: DDPM and improved DDPM over a discrete noise schedule."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from research.data import pipelines
from research.data.examples import Dataset
from research.data.scaling import scaled
from research.errors import InputError, check_choice, check_least
from research.evaluation.pixel_histograms import histogram_bits
from research.methods.denoising import (
    check_label_dropout,
    labels_to_draw,
    solver_named,
    training_labels,
)
from research.methods.diffusion_losses import (
    LEARNED_VARIANCE,
    LOSSES,
    bound_loss,
    predicted,
    squared_error,
    weight,
)
from research.methods.labels import check_classes
from research.methods.variational_bound import bits_per_dim, noised
from research.sampling.ancestral import Variance
from research.sampling.denoisers import PREDICTIONS, Denoiser, Prediction, clipped
from research.sampling.guidance import guided
from research.sampling.schedules import cosine, linear, respaced
from research.training.method import Aux, Method, Objective
from research.training.optimizers import averaged
from research.training.rng import named
from research.training.state import TrainState
from research.training.types import Batch, Metrics, Params, Rng, Scalar

SCHEDULES = {"linear": linear, "cosine": cosine}


class Diffusion(Method):
    """DDPM (2006.11239) with improved DDPM's schedule, variance and losses (2102.09672).

    A batch is `image`, integers 0..levels - 1 of shape (B, H, W, C), and with `num_classes`
    also `label`, integers of shape (B,), trained as the null label with probability
    `label_dropout`. `network.apply({'params': p}, x, t, labels, train=..., rngs=...)` predicts
    eps, x0 or v; the losses 'hybrid' and 'vlb' learn the variance too and take twice the channels.
    `evaluate` estimates the bound from `bound_terms` of its terms (timesteps - 1 are all), of a
    chain with the variance `bound_variance` where none is learned.
    """

    def __init__(
        self,
        *,
        network: Any,
        optimizer: optax.GradientTransformation,
        image_shape: tuple[int, int, int],
        levels: int,
        schedule: str = "linear",
        timesteps: int = 1000,
        prediction: str = "eps",
        loss: str = "simple",
        num_classes: int = 0,
        label_dropout: float = 0.1,
        bound_terms: int = 16,
        bound_variance: str = "beta_tilde",
    ):
        check_choice("schedule", schedule, SCHEDULES)
        check_choice("prediction", prediction, PREDICTIONS)
        check_choice("loss", loss, LOSSES)
        check_choice("bound_variance", bound_variance, ("beta", "beta_tilde"))
        check_least(1, timesteps=timesteps, bound_terms=bound_terms)
        check_label_dropout(label_dropout)
        self.network, self.optimizer = network, optimizer
        self.image_shape, self.levels = tuple(image_shape), levels
        self.schedule, self.timesteps = SCHEDULES[schedule](timesteps), timesteps
        self.prediction, self.loss_name = prediction, loss
        self.learned_variance = loss in LEARNED_VARIANCE
        self.bound_variance = cast(Variance, "learned" if self.learned_variance else bound_variance)
        check_classes(num_classes, network=network)
        self.num_classes, self.label_dropout = num_classes, label_dropout
        self.bound_terms = bound_terms
        self._draw = jax.jit(self.draw, static_argnames=("count", "solver", "steps", "eta"))

    def init_params(self, rng: Rng, batch: Batch) -> dict[str, Params]:
        """Fresh parameters; raises InputError unless the network's channels suit the loss."""
        images = jnp.zeros((1, *self.image_shape))
        output, variables = self.network.init_with_output(rng, images, jnp.zeros(1))
        channels = self.image_shape[-1] * (2 if self.learned_variance else 1)
        if output.shape[-1] != channels:
            raise InputError(
                f"loss {self.loss_name!r} needs a network of {channels} output channels, not "
                f"{output.shape[-1]}: set its out_factor to {2 if self.learned_variance else 1}"
            )
        return {"model": variables["params"]}

    def objectives(self) -> Sequence[Objective]:
        return [Objective("model", self.loss, self.optimizer)]

    def loss(self, params: Params, state: TrainState, batch: Batch, rng: Rng) -> tuple[Scalar, Aux]:
        """The loss at one uniform t an example; logs the squared error and the bound's part."""
        x0 = scaled(batch["image"], self.levels)
        t = jax.random.randint(named(rng, "t"), (len(x0),), 1, self.timesteps + 1)
        eps = jax.random.normal(named(rng, "eps"), x0.shape)
        x = noised(self.schedule, x0, t, eps)
        labels = training_labels(
            batch,
            named(rng, "label"),
            num_classes=self.num_classes,
            label_dropout=self.label_dropout,
        )
        dropout = {"dropout": named(rng, "dropout")}
        output = self.network.apply(
            {"params": params}, x, self.time(t), labels, train=True, rngs=dropout
        )
        mean_output = output[..., : x.shape[-1]]
        error = squared_error(self.prediction, mean_output, self.schedule, x0, eps, t)
        loss = weight(self.loss_name, self.prediction, self.schedule)[t] * error
        metrics = {"squared_error": jnp.mean(error)}
        if self.learned_variance:
            prediction = self.predicted(output, x, t)
            bound = bound_loss(
                self.loss_name, prediction, self.schedule, x0, x, t, levels=self.levels
            )
            loss = bound if self.loss_name == "vlb" else loss + bound
            metrics["bound"] = jnp.mean(bound)
        return jnp.mean(loss), Aux(metrics)

    def evaluate(self, state: TrainState, batch: Batch, rng: Rng) -> Metrics:
        """The variational bound and the simple loss of each example, by the averaged weights.

        `bits_per_dim` (B,) and its parts `prior`, `decoder`, `diffusion` as `bits_per_dim` in
        `variational_bound` has them; `simple_loss` (B,) is the squared error at one uniform t.
        """
        params = averaged(state, "model")
        x0 = scaled(batch["image"], self.levels)
        labels = batch["label"] if self.num_classes else None
        bound = bits_per_dim(
            self.denoiser(params, labels),
            self.schedule,
            x0,
            named(rng, "bound"),
            levels=self.levels,
            variance=self.bound_variance,
            terms=self.bound_terms,
        )
        t = jax.random.randint(named(rng, "t"), (len(x0),), 1, self.timesteps + 1)
        eps = jax.random.normal(named(rng, "eps"), x0.shape)
        x = noised(self.schedule, x0, t, eps)
        output = self.network.apply({"params": params}, x, self.time(t), labels)
        output = output[..., : x0.shape[-1]]
        simple = squared_error(self.prediction, output, self.schedule, x0, eps, t)
        return bound | {"simple_loss": simple}

    def trivial(self, train: Dataset, test: Dataset) -> Mapping[str, Mapping[str, float]]:
        """`bits_per_dim` of each pixel's own histogram of the training images."""
        seen, met = ((x["image"] for x in pipelines.whole(data)) for data in (train, test))
        bits = histogram_bits(seen, met, levels=self.levels)
        return {"bits_per_dim": {"pixel_histograms": bits}}

    def sample(
        self,
        state: TrainState,
        rng: Rng,
        *,
        count: int,
        solver: str = "ancestral",
        steps: int | None = None,
        guidance: float = 0.0,
        eta: float = 0.0,
        labels: Sequence[int] | Array | None = None,
    ) -> dict[str, Any]:
        """`images` (count, H, W, C) in [-1, 1] from the averaged weights, and `labels` (count,).

        `steps` of the schedule's levels are used, all by default. `guidance` is w of
        (1 + w) conditional - w unconditional (2207.12598, eq. 6); `labels` are every class in
        turn by default. Raises InputError for an option or a value that isn't there.
        """
        if steps is not None and not 1 <= steps <= self.timesteps:
            raise InputError(f"steps is {steps}; the schedule has 1 to {self.timesteps}")
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
        steps: int | None,
        eta: float,
    ) -> Float[Array, "B H W C"]:
        """`sample` as a pure function of the parameters; no guidance is None."""
        solve = solver_named(solver, eta=eta, learned_variance=self.learned_variance)
        x = jax.random.normal(named(rng, "x"), (count, *self.image_shape))
        schedule = respaced(self.schedule, steps or self.timesteps)
        return solve(self.denoiser(params, labels, guidance), x, schedule, named(rng, "solver"))

    def denoiser(
        self,
        params: Params,
        labels: Array | None = None,
        guidance: Scalar | float | None = None,
    ) -> Denoiser:
        """The network as samplers take it: x_0 clipped to [-1, 1], after any guidance."""

        def conditioned(labels: Array | None) -> Denoiser:
            def denoise(x: Array, t: Array) -> Prediction:
                t = jnp.broadcast_to(t, x.shape[:1]).astype(jnp.int32)
                output = self.network.apply({"params": params}, x, self.time(t), labels)
                return self.predicted(output, x, t)

            return denoise

        if guidance is None:
            return clipped(conditioned(labels))
        return clipped(guided(conditioned(labels), conditioned(None), guidance))

    def predicted(self, output: Array, x: Array, t: Array) -> Prediction:
        return predicted(
            self.prediction,
            output,
            self.schedule,
            x,
            t,
            learned_variance=self.learned_variance,
        )

    def time(self, t: Array) -> Float[Array, " B"]:
        """The time told to the network: 0..1000 at any number of timesteps."""
        return t.astype(jnp.float32) * (1000 / self.timesteps)
