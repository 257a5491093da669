"""Adversarial networks: a discriminator tells real from fake, a generator learns to be taken in."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from research.data.mixtures import Mixture
from research.data.scaling import scaled
from research.errors import InputError, check_choice, check_least
from research.evaluation.modes import DEVIATIONS
from research.methods.gan_losses import LOSSES, Score, gradient_penalty, packed, r1
from research.methods.labels import check_classes, drawn_labels
from research.training.method import Aux, Method, Objective, play_together
from research.training.optimizers import averaged
from research.training.rng import named
from research.training.state import TrainState
from research.training.types import Batch, Metrics, Params, Rng, Scalar

ROLES = ("discriminator", "generator")


class GAN(Method):
    """Two players (1406.2661): `discriminator` and `generator`, of networks and of optimizers.

    A batch is `image`, integers 0..levels - 1 of shape (B, H, W, C), or `point`, (B, dim); with
    `num_classes` also `label` (B,), which both players are told. `generator.apply(variables,
    z_BxL, labels, train=...)` gives examples, and has batch norm as it likes: its statistics are
    those of the batch in training, running ones in sampling. `discriminator.apply(variables,
    examples, labels)` gives logits (B,), each of its own example alone, or of its pack of `packing`
    (1712.04086), as many channels wide; each block of latents, one a place in the pack, is then
    normalised by itself. `play` is alternating, the discriminator first and `n_critic` times, or
    simultaneous, each by its gradient at the same state and on the same fakes. `r1` and
    `gradient_penalty` weigh the regularizers of `gan_losses`.
    """

    # Metrics and the values below which a run should be looked at.
    alarms: Mapping[str, float] = {"generator/coverage": 0.5}

    def __init__(
        self,
        *,
        networks: Mapping[str, Any],
        optimizers: Mapping[str, optax.GradientTransformation],
        image_shape: tuple[int, int, int] | None = None,
        levels: int = 256,
        dim: int = 2,
        mixture: Mixture | None = None,
        latent_dim: int = 64,
        loss: str = "non_saturating",
        play: str = "alternating",
        n_critic: int = 1,
        packing: int = 1,
        r1: float = 0.0,
        gradient_penalty: float = 0.0,
        num_classes: int = 0,
    ):
        check_least(1, latent_dim=latent_dim, n_critic=n_critic, packing=packing)
        check_least(0, r1=r1, gradient_penalty=gradient_penalty)
        check_choice("loss", loss, LOSSES)
        if play not in ("alternating", "simultaneous"):
            raise InputError(f"no play {play!r}; allowed: alternating, simultaneous")
        if play == "simultaneous" and n_critic != 1:
            raise InputError(f"in simultaneous play both move once, n_critic is {n_critic}")
        if num_classes and packing > 1:
            raise InputError(f"a pack has no one class: packing {packing} needs num_classes=0")
        for section, parts in (("network", networks), ("optimizer", optimizers)):
            if sorted(parts) != sorted(ROLES):
                raise InputError(f"{section} has {', '.join(parts)}; allowed: {', '.join(ROLES)}")
        self.networks, self.optimizers = networks, optimizers
        self.example_shape = tuple(image_shape) if image_shape else (dim,)
        check_classes(num_classes, **networks)
        self.levels, self.mixture, self.num_classes = levels, mixture, num_classes
        self.latent_dim, self.packing = latent_dim, packing
        self.loss, self.n_critic = LOSSES[loss](), n_critic
        self.is_simultaneous = play == "simultaneous"
        self.r1, self.gradient_penalty = r1, gradient_penalty
        self._draw = jax.jit(self.draw)

    def init_params(self, rng: Rng, batch: Batch) -> dict[str, Params]:
        packs = packed(self.examples(batch), self.packing)[:1]
        labels = jnp.zeros(1, jnp.int32) if self.num_classes else None
        discriminator = self.networks["discriminator"].init(
            named(rng, "discriminator"), packs, labels
        )
        generator = self._init_generator(named(rng, "generator"))
        return {"discriminator": discriminator["params"], "generator": generator["params"]}

    def init_extra(self, rng: Rng) -> dict[str, Any]:
        """The generator's running statistics, if it has any."""
        return _statistics(self._init_generator(rng))

    def _init_generator(self, rng: Rng) -> Any:
        labels = jnp.zeros(1, jnp.int32) if self.num_classes else None
        return self.networks["generator"].init(rng, jnp.zeros((1, self.latent_dim)), labels)

    def objectives(self) -> Sequence[Objective]:
        return [
            Objective(
                "discriminator",
                self.discriminator_loss,
                self.optimizers["discriminator"],
                repeats=self.n_critic,
            ),
            Objective("generator", self.generator_loss, self.optimizers["generator"]),
        ]

    def step(self, state: TrainState, batch: Batch, rng: Rng) -> tuple[TrainState, Metrics]:
        """Alternating play, or simultaneous play of both on one set of latents."""
        if not self.is_simultaneous:
            return super().step(state, batch, rng)
        # The same fakes on both sides are computed once.
        latents = self.latents(rng, len(self.examples(batch)))
        batch = {"latent": latents, **batch}
        state, metrics = play_together(self.objectives(), state, batch, rng)
        return dataclasses.replace(state, step=state.step + 1), metrics

    def discriminator_loss(
        self, params: Params, state: TrainState, batch: Batch, rng: Rng
    ) -> tuple[Scalar, Aux]:
        """The loss on reals and on as many fakes, with the regularizers; logs the mean logits."""
        fake, _ = self.fakes(state.params["generator"], state, batch, rng)
        real, fake = packed(self.examples(batch), self.packing), packed(fake, self.packing)
        score = self.score(params, self.labels(batch))
        on_real, on_fake = score(real), score(fake)
        loss = jnp.mean(self.loss.real(on_real)) + jnp.mean(self.loss.fake(on_fake))
        metrics = {"real_logit": jnp.mean(on_real), "fake_logit": jnp.mean(on_fake)}
        if self.r1:
            metrics["r1"] = r1(score, real)
            loss += self.r1 * metrics["r1"]
        if self.gradient_penalty:
            penalty = gradient_penalty(score, real, fake, named(rng, "penalty"))
            metrics["gradient_penalty"] = penalty
            loss += self.gradient_penalty * penalty
        return loss, Aux(metrics)

    def generator_loss(
        self, params: Params, state: TrainState, batch: Batch, rng: Rng
    ) -> tuple[Scalar, Aux]:
        """The loss on fakes, as many as the batch has reals; logs their coverage."""
        fake, statistics = self.fakes(params, state, batch, rng)
        score = self.score(state.params["discriminator"], self.labels(batch))
        loss = jnp.mean(self.loss.generator(score(packed(fake, self.packing))))
        return loss, Aux({"coverage": self.coverage(fake, self.examples(batch))}, statistics)

    def fakes(
        self, params: Params, state: TrainState, batch: Batch, rng: Rng
    ) -> tuple[Float[Array, "B *X"], dict[str, Any]]:
        """Fakes (B, ...) by the batch's own statistics, and the running ones they lead to."""
        count = len(self.examples(batch))
        z = batch["latent"] if "latent" in batch else self.latents(rng, count)
        variables = {"params": params, "batch_stats": state.extra.get("generator_statistics", {})}

        def block(z: Array, labels: Array | None) -> tuple[Array, Any]:
            return self.networks["generator"].apply(
                variables, z, labels, train=True, mutable=["batch_stats"]
            )

        if self.packing == 1:
            fake, updated = block(z, self.labels(batch))
            return fake, _statistics(updated)
        # Place i of every pack is a block of its own: (B, ...) -> (m, B/m, ...) and back.
        blocks = jnp.swapaxes(z.reshape(-1, self.packing, self.latent_dim), 0, 1)
        fake, updated = jax.vmap(block, in_axes=(0, None))(blocks, None)
        fake = jnp.swapaxes(fake, 0, 1).reshape(count, *self.example_shape)
        return fake, _statistics(jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), updated))

    def score(self, params: Params, labels: Array | None) -> Score:
        """The discriminator as a function of packs."""

        def score(packs: Float[Array, "P *X C"]) -> Float[Array, " P"]:
            return self.networks["discriminator"].apply({"params": params}, packs, labels)

        return score

    def coverage(self, fake: Array, real: Array) -> Scalar:
        """How much of the data the fakes reach.

        For a mixture the share of its modes with a fake within 3 standard deviations; else the
        fakes' root mean squared distance among each other in units of the reals' one, 0 if they
        are all the same.
        """
        if self.mixture is None:
            spread = [jnp.sum(jnp.var(x, axis=0)) for x in (fake, real)]
            return jnp.sqrt(spread[0] / jnp.maximum(spread[1], 1e-12))
        centres = jnp.asarray(self.mixture.centres, jnp.float32)
        squared_BxK = jnp.sum((fake[:, None] - centres) ** 2, axis=-1)
        near_BxK = squared_BxK < (DEVIATIONS * self.mixture.std) ** 2
        return jnp.mean(near_BxK.any(axis=0), dtype=jnp.float32)

    def evaluate(self, state: TrainState, batch: Batch, rng: Rng) -> Metrics:
        """The discriminator on test examples (B,), each with its pack's value.

        `discriminator_loss` on the example and on one fake of the averaged weights, and beside it
        `chance_loss`, that of a discriminator that knows nothing; `real_logit`, `fake_logit`.
        """
        real, labels = self.examples(batch), self.labels(batch)
        fake = self.draw(state, self.latents(rng, len(real)), labels)
        score = self.score(state.params["discriminator"], labels)
        on_real, on_fake = score(packed(real, self.packing)), score(packed(fake, self.packing))
        chance = jnp.zeros_like(on_real)
        metrics = {
            "discriminator_loss": self.loss.real(on_real) + self.loss.fake(on_fake),
            "chance_loss": self.loss.real(chance) + self.loss.fake(chance),
            "real_logit": on_real,
            "fake_logit": on_fake,
        }
        return {name: jnp.repeat(value, self.packing) for name, value in metrics.items()}

    def sample(
        self,
        state: TrainState,
        rng: Rng,
        *,
        count: int,
        labels: Sequence[int] | Array | None = None,
    ) -> dict[str, Any]:
        """`images` (count, H, W, C) in [-1, 1] or `points` (count, D), by the averaged weights.

        With classes also `labels` (count,), by default every class in turn. Raises InputError for
        labels without classes, of another count or outside 0..num_classes - 1.
        """
        chosen = drawn_labels(labels, count=count, num_classes=self.num_classes)
        drawn = self._draw(state, self.latents(rng, count), chosen)
        name = "images" if len(self.example_shape) == 3 else "points"
        return {name: drawn} | ({} if chosen is None else {"labels": chosen})

    def draw(
        self, state: TrainState, z: Float[Array, "B L"], labels: Array | None = None
    ) -> Float[Array, "B *X"]:
        """Examples of latents, by the averaged weights and running statistics."""
        variables = {
            "params": averaged(state, "generator"),
            "batch_stats": state.extra.get("generator_statistics", {}),
        }
        return self.networks["generator"].apply(variables, z, labels)

    def latents(self, rng: Rng, count: int) -> Float[Array, "B L"]:
        return jax.random.normal(named(rng, "latent"), (count, self.latent_dim))

    def examples(self, batch: Batch) -> Float[Array, "B *X"]:
        """The batch's images in [-1, 1], or its points."""
        if len(self.example_shape) == 3:
            return scaled(jnp.asarray(batch["image"]), self.levels)
        return jnp.asarray(batch["point"])

    def labels(self, batch: Batch) -> Int[Array, " B"] | None:
        return jnp.asarray(batch["label"]) if self.num_classes else None


def _statistics(variables: Any) -> dict[str, Any]:
    """The entry of `state.extra` that holds a network's running statistics, if it has any."""
    return {"generator_statistics": variables["batch_stats"]} if "batch_stats" in variables else {}
