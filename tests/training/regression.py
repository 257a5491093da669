"""A method small enough to train in milliseconds, with noise, an EMA and a second player."""

import dataclasses

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax

from research.training.loop import train
from research.training.method import Aux, Method, Objective
from research.training.optimizers import averaged, optimizer
from research.training.rng import named
from research.training.sharding import make_mesh

SLOPE = np.array([1.0, -2.0, 0.5, 3.0], np.float32)


@dataclasses.dataclass(frozen=True)
class Regression(Method):
    """Fits y = SLOPE . x under input noise; the `scale` group learns the residual's size, twice a
    step; `extra` counts plays."""

    make_optimizer: optax.GradientTransformation = dataclasses.field(
        default_factory=lambda: optimizer(learning_rate=0.05, total_steps=100, ema_decay=0.9)
    )

    def init_params(self, rng, batch):
        weights = jax.random.normal(rng, (4, 8)), jax.random.normal(named(rng, "out"), (8,))
        return {"model": dict(zip("wv", weights, strict=True)), "scale": {"s": jnp.zeros(())}}

    def init_extra(self, rng):
        return {"plays": jnp.zeros((), jnp.int32)}

    def objectives(self):
        return [
            Objective("model", self.model_loss, self.make_optimizer),
            Objective("scale", self.scale_loss, optax.sgd(0.1), repeats=2),
        ]

    def residual(self, params, batch, rng=None):
        x = batch["x"]
        if rng is not None:
            x = x + 0.01 * jax.random.normal(rng, x.shape)
        return x @ params["w"] @ params["v"] - batch["y"]

    def model_loss(self, params, state, batch, rng):
        error = jnp.mean(self.residual(params, batch, rng) ** 2)
        return error, Aux({}, {"plays": state.extra["plays"] + 1})

    def scale_loss(self, params, state, batch, rng):
        error = jnp.mean(jnp.abs(self.residual(state.params["model"], batch)))
        return (params["s"] - error) ** 2, Aux({}, {"plays": state.extra["plays"] + 1})

    def evaluate(self, state, batch, rng):
        return {"error": self.residual(averaged(state, "model"), batch) ** 2}

    def sample(self, state, rng, *, count):
        return {"images": jnp.zeros((count, 2, 2, 1))}


def iterator(*, seed=0, poison_at=None):
    """Batches of 8 as a Grain iterator; batch `poison_at` holds a NaN."""

    def batch(index):
        x = np.random.default_rng((seed, index)).normal(size=(8, 4)).astype(np.float32)
        return {"x": x, "y": x @ SLOPE + (np.nan if index == poison_at else 0)}

    return iter(grain.MapDataset.range(10_000).map(batch).to_iter_dataset())


def kept():
    """The first 30 of those batches as a data set, and their places in it as a Grain iterator."""
    batches = [batch for batch, _ in zip(iterator(), range(30), strict=False)]
    examples = {name: np.concatenate([batch[name] for batch in batches]) for name in "xy"}
    places = lambda index: np.arange(8, dtype=np.int32) + 8 * index  # noqa: E731
    return examples, iter(grain.MapDataset.range(30).map(places).to_iter_dataset())


def fit(*, steps, seed=0, poison_at=None, on_devices=False, **kwargs):
    """Trains the regression; `on_devices` keeps its examples there. The rest goes to the loop.

    The examples are those of seed 0.
    """
    stream = iterator(poison_at=poison_at)
    if on_devices:
        kwargs["examples"], stream = kept()
    example = {"x": np.zeros((8, 4), np.float32), "y": np.zeros(8, np.float32)}
    return train(
        kwargs.pop("method", Regression()),
        stream,
        example=example,
        steps=steps,
        seed=seed,
        mesh=kwargs.pop("mesh", None) or make_mesh(),
        **kwargs,
    )
