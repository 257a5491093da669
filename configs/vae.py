"""Variational autoencoders (1312.6114).

    python -m launch.train --config=configs/vae.py:digits --workdir=runs/vae

digits: a convolutional encoder and decoder, Gaussian pixels of a learned variance. mnist: MLPs on
dynamically binarized pixels. numpyro: the network, batch and optimizer of NumPyro's example
(examples/vae.py). Each has a `_debug` form of two steps.
"""

from ml_collections import ConfigDict

from research.configuration import split_variant


def get_config(variant: str = "digits") -> ConfigDict:
    """`digits`, `mnist` or `numpyro`; `VARIANT_debug` is the same in miniature."""
    name, is_debug = split_variant(variant, VARIANTS, __file__)
    config = VARIANTS[name]()
    return debug(config) if is_debug else config


def digits() -> ConfigDict:
    """scikit-learn's 8x8 digits by a small pyramid, 16 latents: 2 minutes of one core.

    -log p(x) of test images is 5.0 nats of density over [-1, 1], of independent pixels 51; samples
    are at a Frechet distance of 43 (DDPM's 1.9, per-pixel Gaussians 112).
    """
    return ConfigDict(
        dict(
            seed=0,
            steps=3000,
            data=dict(name="digits", batch_size=64),
            network=dict(
                encoder=dict(name="conv_encoder", latent=16, width=32, levels=2),
                decoder=dict(name="conv_decoder", width=32, levels=2),
            ),
            method=dict(
                name="vae",
                likelihood="gaussian",
                binarize="none",
                bound="analytic",
                k=1,
                beta=1.0,
                evaluation_samples=1000,
            ),
            optimizer=dict(name="adam", learning_rate=1e-3, schedule="cosine", ema_decay=0.999),
            mesh=dict(data=-1, fsdp=1, tensor=1),
            checkpoint=dict(every_steps=1000, keep=2),
            log=dict(every_steps=50),
            sample=dict(every_steps=1000, count=100),
            evaluate=dict(count=360, batch_size=60),
        )
    )


def mnist() -> ConfigDict:
    """MNIST, binarized anew at each step: two layers of 200, 50 latents (1509.00519, section 5)."""
    config = digits()
    config.update(steps=30_000)
    config.data.update(name="mnist", batch_size=100)
    config.network = ConfigDict(
        dict(
            encoder=dict(name="mlp_encoder", latent=50, hidden=(200, 200), activation="tanh"),
            decoder=dict(name="mlp_decoder", hidden=(200, 200), activation="tanh"),
        )
    )
    config.method.update(likelihood="bernoulli", binarize="dynamic")
    del config.optimizer.ema_decay
    config.checkpoint.every_steps = 10_000
    config.log.every_steps = 500
    config.sample.every_steps = 10_000
    config.evaluate.update(count=2000, batch_size=100)
    return config


def numpyro() -> ConfigDict:
    """20 epochs of NumPyro's example: one softplus layer of 400, 50 latents, Adam at 1e-3.

    50 steps are executed at once, as a step of 4 ms would wait for the host.
    """
    config = mnist()
    config.update(steps=20 * 60_000 // 128, steps_per_execution=50)
    config.data.batch_size = 128
    for role in ("encoder", "decoder"):
        config.network[role].update(hidden=(400,), activation="softplus")
    config.method.bound = "sampled"
    config.optimizer.schedule = "constant"
    return config


def debug(config: ConfigDict) -> ConfigDict:
    """The same run in miniature: small networks, two steps, a few samples."""
    config.update(steps=2)
    config.data.batch_size = 8
    config.network.encoder.latent = 3
    for part in (config.network.encoder, config.network.decoder):
        part.update(dict(width=4) if "width" in part else dict(hidden=(8,)))
    config.method.evaluation_samples = 4
    config.checkpoint.every_steps = 1
    config.log.every_steps = 1
    config.sample.update(count=8)
    config.evaluate.update(count=8, batch_size=8)
    return config


VARIANTS = {"digits": digits, "mnist": mnist, "numpyro": numpyro}
