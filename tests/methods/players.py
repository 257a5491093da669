"""Small adversarial methods of points and of images with classes, and their batches."""

import dataclasses

import jax
import numpy as np

from research.data.mixtures import ring
from research.methods.gan import GAN
from research.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from research.networks.maxout import BatchNormGenerator, MaxoutDiscriminator
from research.training.optimizers import optimizer

RNG = jax.random.key(0, impl="rbg")  # compiles in half the time
MIXTURE = ring(4, std=0.1)
POINTS = {"point": MIXTURE.draw(24, seed=0).astype(np.float32)}
IMAGES = {
    "image": np.random.default_rng(0).integers(0, 17, (6, 8, 8, 1), dtype=np.uint8),
    "label": np.arange(6, dtype=np.int32) % 3,
}


def points(*, rate=1e-2, ema_decay=None, **arguments):
    networks = {
        "generator": BatchNormGenerator(2, width=16, layers=2),
        "discriminator": MaxoutDiscriminator(width=8, layers=2, pieces=3),
    }
    made = {
        role: optimizer(learning_rate=rate, total_steps=9, ema_decay=ema_decay) for role in networks
    }
    arguments = {"networks": networks, "optimizers": made, "mixture": MIXTURE} | arguments
    return GAN(dim=2, latent_dim=2, **arguments)


def images(**arguments):
    networks = {
        "generator": DCGANGenerator((8, 8, 1), channels=(8, 4), num_classes=3),
        "discriminator": DCGANDiscriminator(channels=(4, 8), num_classes=3),
    }
    made = dict.fromkeys(networks, optimizer(learning_rate=1e-3, total_steps=9))
    arguments = {"networks": networks, "optimizers": made, "num_classes": 3} | arguments
    return GAN(image_shape=(8, 8, 1), levels=17, latent_dim=4, **arguments)


def started(made, batch):
    """The state before the first step."""
    quickly = {"xla_backend_optimization_level": 0}
    return jax.jit(made.init, compiler_options=quickly)(RNG, batch)


def sure(state):
    """The state with the discriminator's first weights widened: its logits are not all near 0."""
    wide = jax.tree.map(lambda leaf: 20 * leaf, state.params["discriminator"])
    return dataclasses.replace(state, params=state.params | {"discriminator": wide})
