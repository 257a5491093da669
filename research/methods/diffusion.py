"""Denoising diffusion: DDPM and improved DDPM over a discrete noise schedule."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from research.errors import InputError, nearest
from research.methods.diffusion_losses import LOSSES, simple_weight
from research.sampling.ancestral import Variance, ancestral
from research.sampling.ddim import ddim
from research.sampling.denoisers import (
    Denoiser,
    Prediction,
    check_prediction,
    clipped,
    target,
    to_x0,
)
from research.sampling.guidance import guided
from research.sampling.schedules import cosine, linear, respaced
from research.training.method import Aux, Method, Objective
from research.training.optimizers import averaged
from research.training.rng import named
from research.training.state import TrainState
from research.training.types import Batch, Metrics, Params, Rng, Scalar

SCHEDULES = {"linear": linear, "cosine": cosine}
SOLVERS = ("ancestral", "ancestral_beta", "ddim")


class Diffusion(Method):
    """DDPM (2006.11239) with improved DDPM's schedule and losses (2102.09672).

    A batch is `image`, integers 0..levels - 1 of shape (B, H, W, C), and with `num_classes`
    also `label`, integers of shape (B,). `network.apply({'params': p}, x, t, labels, train=...,
    rngs=...)` predicts eps, x_0 or v; a learned variance (loss 'hybrid' or 'vlb') takes twice the
    channels. With probability `label_dropout` a label is trained as the null one.
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
    ):
        check_prediction(prediction)
        if schedule not in SCHEDULES:
            raise InputError(f"no schedule {schedule!r}; {nearest(schedule, SCHEDULES)}")
        if loss not in LOSSES:
            raise InputError(f"no loss {loss!r}; {nearest(loss, LOSSES)}")
        self.network = network
        self.optimizer = optimizer
        self.image_shape = tuple(image_shape)
        self.levels = levels
        self.schedule = SCHEDULES[schedule](timesteps)
        self.timesteps = timesteps
        self.prediction = prediction
        self.loss_name = loss
        self.num_classes = num_classes
        self.label_dropout = label_dropout
        self._draw = jax.jit(
            self.draw, static_argnames=("count", "solver", "steps", "guidance", "eta")
        )

    def init_params(self, rng: Rng, batch: Batch) -> dict[str, Params]:
        images = jnp.zeros((1, *self.image_shape))
        return {"model": self.network.init(rng, images, jnp.zeros(1))["params"]}

    def objectives(self) -> Sequence[Objective]:
        return [Objective("model", self.loss, self.optimizer)]

    def loss(self, params: Params, state: TrainState, batch: Batch, rng: Rng) -> tuple[Scalar, Aux]:
        """The weighted squared error of the network's output at a uniform t (eq. 14)."""
        x0 = self.scaled(batch["image"])
        t = jax.random.randint(named(rng, "t"), (len(x0),), 1, self.timesteps + 1)
        labels = self.labels(batch)
        if labels is not None:
            dropped = jax.random.bernoulli(named(rng, "label"), self.label_dropout, labels.shape)
            labels = jnp.where(dropped, self.num_classes, labels)
        error = self.squared_error(params, x0, t, labels, rng, train=True)
        weight = simple_weight(self.loss_name, self.prediction, self.schedule)[t]
        return jnp.mean(weight * error), Aux({"squared_error": jnp.mean(error)})

    def squared_error(
        self, params: Params, x0: Array, t: Array, labels: Array | None, rng: Rng, *, train: bool
    ) -> Float[Array, " B"]:
        """The mean squared error of each example's output at a noise drawn from `rng`."""
        alpha, sigma = (values[:, None, None, None] for values in self.level(t))
        eps = jax.random.normal(named(rng, "eps"), x0.shape)
        output = self.network.apply(
            {"params": params},
            alpha * x0 + sigma * eps,
            self.time(t),
            labels,
            train=train,
            rngs={"dropout": named(rng, "dropout")},
        )
        error = output - target(self.prediction, x0, eps, alpha, sigma)
        return jnp.mean(error**2, axis=(1, 2, 3))

    def evaluate(self, state: TrainState, batch: Batch, rng: Rng) -> Metrics:
        """`simple_loss` (B,): the unweighted loss at one random t an example, averaged weights."""
        x0 = self.scaled(batch["image"])
        t = jax.random.randint(named(rng, "t"), (len(x0),), 1, self.timesteps + 1)
        params = averaged(state, "model")
        error = self.squared_error(params, x0, t, self.labels(batch), rng, train=False)
        return {"simple_loss": error}

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

        `steps` noise levels are kept of the schedule's (all by default). `guidance` is w of
        (1 + w) conditional - w unconditional; `labels` (count,) default to every class in turn;
        the label `num_classes` is the null one. Raises InputError for an option that isn't there.
        """
        if solver not in SOLVERS:
            raise InputError(f"no solver {solver!r}; {nearest(solver, SOLVERS)}")
        if steps is not None and not 1 <= steps <= self.timesteps:
            raise InputError(f"steps is {steps}; the schedule has 1 to {self.timesteps}")
        if eta and solver != "ddim":
            raise InputError(f"eta is an option of solver 'ddim', not of {solver!r}")
        if not self.num_classes and (guidance or labels is not None):
            raise InputError("guidance and labels need a method with num_classes")
        if self.num_classes:
            labels = jnp.arange(count) % self.num_classes if labels is None else jnp.array(labels)
        images = self._draw(
            averaged(state, "model"),
            rng,
            labels,
            count=count,
            solver=solver,
            steps=steps,
            guidance=guidance,
            eta=eta,
        )
        return {"images": images} | ({} if labels is None else {"labels": labels})

    def draw(
        self,
        params: Params,
        rng: Rng,
        labels: Array | None,
        *,
        count: int,
        solver: str,
        steps: int | None,
        guidance: float,
        eta: float,
    ) -> Float[Array, "B H W C"]:
        """`sample` as a pure function of the parameters."""
        x = jax.random.normal(named(rng, "x"), (count, *self.image_shape))
        denoise = self.denoiser(params, labels, guidance)
        schedule = respaced(self.schedule, steps or self.timesteps)
        rng = named(rng, "solver")
        if solver == "ddim":
            return ddim(denoise, x, schedule, rng, eta=eta)
        variance: Variance = "beta" if solver == "ancestral_beta" else "beta_tilde"
        return ancestral(denoise, x, schedule, rng, variance=variance)

    def denoiser(
        self, params: Params, labels: Array | None = None, guidance: float = 0.0
    ) -> Denoiser:
        """The network as a sampler takes it: x_0 clipped to [-1, 1], after guidance."""

        def conditioned(labels: Array | None) -> Denoiser:
            def denoise(x: Array, t: Array) -> Prediction:
                t = jnp.broadcast_to(t, x.shape[:1])
                alpha, sigma = (values[:, None, None, None] for values in self.level(t))
                output = self.network.apply({"params": params}, x, self.time(t), labels)
                return Prediction(to_x0(self.prediction, output, x, alpha, sigma))

            return denoise

        if guidance == 0:
            return clipped(conditioned(labels))
        return clipped(guided(conditioned(labels), conditioned(None), guidance))

    def level(self, t: Array) -> tuple[Array, Array]:
        """alpha and sigma (B,) at the times t (B,)."""
        t = t.astype(jnp.int32)
        alpha = jnp.asarray(self.schedule.alpha, jnp.float32)
        sigma = jnp.asarray(self.schedule.sigma, jnp.float32)
        return alpha[t], sigma[t]

    def time(self, t: Array) -> Float[Array, " B"]:
        """The time told to the network, 0..1000 at any number of timesteps."""
        return t.astype(jnp.float32) * (1000 / self.timesteps)

    def labels(self, batch: Batch) -> Array | None:
        """The batch's labels if the method has classes."""
        return batch["label"] if self.num_classes else None

    def scaled(self, image: Array) -> Float[Array, "B H W C"]:
        """Integers 0..levels - 1 as float32 in [-1, 1]."""
        return image.astype(jnp.float32) * (2 / (self.levels - 1)) - 1
