"""Variational autoencoders: VAE, beta-VAE and IWAE, told apart by their bound."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from research.data import pipelines
from research.data.examples import Dataset
from research.errors import InputError, check_choice, check_least
from research.evaluation.pixel_moments import moments
from research.methods.importance_bounds import (
    BOUNDS,
    Terms,
    gaussian_kl,
    gaussian_log_ratio,
    log_likelihood,
    log_weights,
)
from research.methods.likelihoods import likelihood_named
from research.training.method import Aux, LatentVariable, Objective
from research.training.optimizers import averaged
from research.training.rng import named
from research.training.state import TrainState
from research.training.types import Batch, Metrics, Params, Rng, Scalar


class VAE(LatentVariable):
    """p(x) = E p(x | z), z ~ N(0, I), with q(z | x) = N(mean, std^2), by a bound of `k` samples.

    A batch is `image`, integers 0..levels - 1 of shape (B, H, W, C). Of `networks`, `encoder`
    gives the mean and log std, both (B, L), of images in [-1, 1], and has its L as `latent`;
    `decoder` gives an output (N, H, W, C) of `likelihood` for latents (N, L). `bound` is

    - 'analytic': the ELBO with the closed-form KL times `beta` (1312.6114, eq. 7);
    - 'sampled': the ELBO with the samples' own KL (eq. 6);
    - 'importance': IWAE's bound (1509.00519, eq. 8).
    """

    def __init__(
        self,
        *,
        networks: Mapping[str, Any],
        optimizer: optax.GradientTransformation,
        image_shape: tuple[int, int, int],
        levels: int,
        likelihood: str = "bernoulli",
        binarize: str = "none",
        std: float | None = None,
        bound: str = "analytic",
        k: int = 1,
        beta: float = 1.0,
        evaluation_samples: int = 5000,
    ):
        check_choice("bound", bound, BOUNDS)
        check_least(1, k=k, evaluation_samples=evaluation_samples)
        if sorted(networks) != ["decoder", "encoder"]:
            raise InputError(f"network has {', '.join(networks)}; allowed: encoder, decoder")
        self.encoder, self.decoder = networks["encoder"], networks["decoder"]
        check_least(1, latent=self.encoder.latent)
        check_least(0, beta=beta)
        self.optimizer = optimizer
        self.image_shape = tuple(image_shape)
        self.likelihood = likelihood_named(likelihood, levels=levels, binarize=binarize, std=std)
        self.bound, self.k, self.beta = BOUNDS[bound], k, beta
        self.evaluation_samples = evaluation_samples
        self._draw = jax.jit(self.draw, static_argnames="count")

    def init_params(self, rng: Rng, batch: Batch) -> dict[str, Params]:
        images, z = jnp.zeros((1, *self.image_shape)), jnp.zeros((1, self.encoder.latent))
        params = {
            "encoder": self.encoder.init(named(rng, "encoder"), images)["params"],
            "decoder": self.decoder.init(named(rng, "decoder"), z)["params"],
            "likelihood": self.likelihood.init_params(),
        }
        return {"model": params}

    def objectives(self) -> Sequence[Objective]:
        return [Objective("model", self.loss, self.optimizer)]

    def loss(self, params: Params, state: TrainState, batch: Batch, rng: Rng) -> tuple[Scalar, Aux]:
        """Minus the bound in nats an image; logs its reconstruction and KL."""
        x = self.likelihood.observed(batch["image"], named(rng, "x"))
        terms = self.terms(params, x, self.noise(named(rng, "eps"), len(x), self.k))
        metrics = {
            "reconstruction": -jnp.mean(terms.log_likelihood_BxK),
            "kl": jnp.mean(terms.kl_B),
        }
        return -jnp.mean(self.bound(terms, self.beta)), Aux(metrics)

    def evaluate(self, state: TrainState, batch: Batch, rng: Rng) -> Metrics:
        """Each image's (B,) upper bounds on -log p(x), in nats, by the averaged weights.

        `nll` is importance sampling's, of `evaluation_samples` samples; `bound` that which is
        trained, of k samples and at beta 1; `reconstruction` and `kl` are the ELBO's parts.
        """
        params = averaged(state, "model")
        x = self.likelihood.observed(batch["image"], named(rng, "x"))
        posterior = self.encoder.apply({"params": params["encoder"]}, x)

        def terms(rng: Rng, count: int) -> Terms:
            return self.terms(params, x, self.noise(rng, len(x), count), posterior)

        log_p = log_likelihood(
            lambda rng, count: log_weights(terms(rng, count)),
            named(rng, "nll"),
            samples=self.evaluation_samples,
        )
        found = terms(named(rng, "eps"), self.k)
        return {
            "nll": -log_p,
            "bound": -self.bound(found, 1.0),
            "reconstruction": -jnp.mean(found.log_likelihood_BxK, axis=1),
            "kl": found.kl_B,
        }

    def trivial(self, train: Dataset, test: Dataset) -> Mapping[str, Mapping[str, float]]:
        """`nll` of independent pixels that have the training images' `moments`."""
        params, output = self.likelihood.marginal(*map(jnp.float32, moments(self.observed(train))))
        log_p = [self.likelihood.log_prob(params, x, output) for x in self.observed(test)]
        return {"nll": {"independent_pixels": -float(jnp.mean(jnp.concatenate(log_p)))}}

    def observed(self, data: Dataset) -> Iterator[Float[Array, "B H W C"]]:
        """The images of a set in order, as the likelihood observes them, a thousand at a time."""
        for number, examples in enumerate(pipelines.whole(data)):
            yield self.likelihood.observed(examples["image"], jax.random.key(number))

    def sample(self, state: TrainState, rng: Rng, *, count: int) -> dict[str, Any]:
        """`images` (count, H, W, C) in [-1, 1]: the means E[x | z] of z from the prior."""
        return {"images": self._draw(averaged(state, "model"), rng, count=count)}

    def draw(self, params: Params, rng: Rng, *, count: int) -> Float[Array, "B H W C"]:
        """`sample` as a pure function of the parameters."""
        z = jax.random.normal(named(rng, "z"), (count, self.encoder.latent))
        return self.likelihood.mean(self.decoder.apply({"params": params["decoder"]}, z))

    def encode(self, state: TrainState, images: Float[Array, "B H W C"]) -> Float[Array, "B L"]:
        params = averaged(state, "model")
        return self.encoder.apply({"params": params["encoder"]}, images)[0]

    def decode(self, state: TrainState, z: Float[Array, "B L"]) -> Float[Array, "B H W C"]:
        params = averaged(state, "model")
        return self.likelihood.mean(self.decoder.apply({"params": params["decoder"]}, z))

    def noise(self, rng: Rng, batch: int, count: int) -> Float[Array, "B K L"]:
        return jax.random.normal(rng, (batch, count, self.encoder.latent))

    def terms(
        self,
        params: Params,
        x: Float[Array, "B H W C"],
        eps_BxKxL: Float[Array, "B K L"],
        posterior: tuple[Array, Array] | None = None,
    ) -> Terms:
        """The parts of bounds at z = mean + std * eps; `posterior` is the encoder's output."""
        mean_BxL, log_std_BxL = posterior or self.encoder.apply({"params": params["encoder"]}, x)
        z_BxKxL = mean_BxL[:, None] + jnp.exp(log_std_BxL)[:, None] * eps_BxKxL
        flat_NxL = z_BxKxL.reshape(-1, z_BxKxL.shape[-1])
        output = self.decoder.apply({"params": params["decoder"]}, flat_NxL)
        output = output.reshape(*z_BxKxL.shape[:2], *output.shape[1:])
        return Terms(
            self.likelihood.log_prob(params["likelihood"], x[:, None], output),
            gaussian_log_ratio(z_BxKxL, eps_BxKxL, log_std_BxL),
            gaussian_kl(mean_BxL, log_std_BxL),
        )
