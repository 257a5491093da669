"""Adversarial networks (1406.2661): PacGAN's mixtures in the plane (1712.04086), DCGAN's digits.

python -m launch.train --config=configs/gan.py:ring --workdir=runs/ring
"""

from ml_collections import ConfigDict

from research.configuration import split_variant


def get_config(variant: str = "ring") -> ConfigDict:
    """`ring`, `grid`, `digits` or `mnist`; `VARIANT_debug` is the same in miniature."""
    name, is_debug = split_variant(variant, VARIANTS, __file__)
    config = VARIANTS[name]()
    return debug(config) if is_debug else config


def ring() -> ConfigDict:
    """PacGAN2 on 8 modes, a tenth of the paper's schedule: about 15 minutes on 2 cores.

    The whole schedule, 400k steps, covers 7.9 of 8 modes in the paper's table 1, 6.3 with
    `--config.method.packing=1 --config.data.batch_size=100`.
    """
    adam = dict(name="adam", learning_rate=1e-4, b1=0.8)
    return ConfigDict(
        dict(
            seed=0,
            steps=40_000,
            data=dict(name="ring", batch_size=200),
            network=dict(
                generator=dict(name="batch_norm_generator", width=400, layers=4),
                discriminator=dict(name="maxout_discriminator", width=200, layers=3),
            ),
            method=dict(
                name="gan",
                loss="non_saturating",
                play="simultaneous",
                packing=2,
                latent_dim=2,
            ),
            optimizer=dict(generator=adam, discriminator=dict(adam)),
            mesh=dict(data=-1, fsdp=1, tensor=1),
            checkpoint=dict(every_steps=5000, keep=2),
            log=dict(every_steps=100),
            sample=dict(every_steps=5000, count=2500),
            evaluate=dict(count=2500, batch_size=2400),  # whole packs of 2, 3 and 4
        )
    )


def grid() -> ConfigDict:
    """PacGAN2 on 25 modes, as `ring`; the paper's whole schedule covers 23.8, the GAN's 17.3."""
    config = ring()
    config.data.name = "grid"
    return config


def mnist() -> ConfigDict:
    """DCGAN on MNIST without its classes: 20 minutes of one core.

    2000 samples are at a Frechet distance of 4.7 (real images 0.7, per-pixel Gaussians 252), with
    a recall of 0.89 (real images 0.88).
    """
    adam = dict(name="adam", learning_rate=2e-4, b1=0.5, b2=0.99)
    config = ring()
    config.update(steps=10_000)
    config.data.update(name="mnist", batch_size=64)
    config.network = ConfigDict(
        dict(
            generator=dict(name="dcgan_generator", channels=(64, 32)),
            discriminator=dict(name="dcgan_discriminator", channels=(32, 64)),
        )
    )
    config.method = ConfigDict(
        dict(name="gan", loss="non_saturating", r1=0.1, latent_dim=64, num_classes=0)
    )
    config.optimizer = ConfigDict(dict(generator=adam | dict(ema_decay=0.999), discriminator=adam))
    config.checkpoint.every_steps = 1000
    config.sample.update(every_steps=1000, count=100)
    config.evaluate.update(count=2000, batch_size=250)
    return config


def digits() -> ConfigDict:
    """scikit-learn's 8x8 digits by class: hinge loss, projection, two critic steps; 2 minutes."""
    config = mnist()
    config.update(steps=3000)
    config.data.update(name="digits", batch_size=64)
    config.network.generator.channels = (32, 16)
    config.network.discriminator.channels = (16, 32)
    config.method = ConfigDict(dict(name="gan", loss="hinge", n_critic=2, r1=0.1, latent_dim=16))
    config.evaluate.update(count=360, batch_size=360)
    return config


def debug(config: ConfigDict) -> ConfigDict:
    """The same run in miniature: small networks, two steps, a few samples."""
    config.update(steps=2)
    config.data.batch_size = 8
    for network in (config.network.generator, config.network.discriminator):
        if "width" in network:
            network.update(width=8, layers=2)
        else:
            network.channels = (4, 4)
    config.checkpoint.every_steps = 1
    config.log.every_steps = 1
    config.sample.count = 8
    config.evaluate.update(count=8, batch_size=8)
    return config


VARIANTS = {"ring": ring, "grid": grid, "digits": digits, "mnist": mnist}
