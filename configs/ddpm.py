"""Denoising diffusion (2006.11239), conditioned by classifier-free guidance (2207.12598).

python -m launch.train --config=configs/ddpm.py:digits --workdir=runs/digits
"""

from ml_collections import ConfigDict

from research.configuration import split_variant


def get_config(variant: str = "digits") -> ConfigDict:
    """`digits`, `mnist`, `cifar10` or `diffusers`; `VARIANT_debug` is the same in miniature."""
    name, is_debug = split_variant(variant, VARIANTS, __file__)
    config = VARIANTS[name]()
    return debug(config) if is_debug else config


def digits() -> ConfigDict:
    """scikit-learn's 8x8 digits: under 3 minutes on 2 cores, a Frechet distance of 1.9.

    That of as many real test images is 1.56, of per-pixel Gaussians 112 (`digits_convnet`, n=360).
    """
    return ConfigDict(
        dict(
            seed=0,
            steps=1300,
            data=dict(name="digits", batch_size=64),
            network=dict(
                name="unet",
                channels=32,
                multipliers=(1, 1),
                blocks=1,
                attention_resolutions=(4,),
                dropout=0.0,
            ),
            method=dict(
                name="diffusion",
                schedule="cosine",
                timesteps=1000,
                prediction="eps",
                loss="simple",
                label_dropout=0.1,
            ),
            optimizer=dict(
                name="adam",
                learning_rate=2e-3,
                schedule="cosine",
                warmup_steps=100,
                clip_norm=1.0,
                ema_decay=0.999,
            ),
            mesh=dict(data=-1, fsdp=1, tensor=1),
            checkpoint=dict(every_steps=500, keep=3),
            log=dict(every_steps=25),
            sample=dict(every_steps=500, count=100, solver="ddim", steps=50),
            evaluate=dict(count=360, batch_size=360),
        )
    )


def mnist() -> ConfigDict:
    """MNIST, 28x28 folded to 14x14 patches: an hour on one core, a Frechet distance of 5.4.

    That of as many real test images is 0.67, of per-pixel Gaussians 252 (`mnist_convnet`, n=2000).
    """
    config = digits()
    config.update(steps=4500)
    config.data.update(name="mnist", batch_size=64)
    config.network.update(channels=32, multipliers=(1, 2), attention_resolutions=(7,))
    config.network.patch_size = 2
    config.optimizer.update(learning_rate=1e-3, warmup_steps=200)
    config.sample.every_steps = 1000
    config.evaluate.update(count=2000, batch_size=250)
    return config


def cifar10() -> ConfigDict:
    """The paper's own CIFAR-10 setting (section 4 and appendix B) but for its random flips.

    800k steps, for an accelerator.
    """
    config = digits()
    config.update(steps=800_000)
    config.data.update(name="cifar10", batch_size=128)
    config.network.update(
        channels=128, multipliers=(1, 2, 2, 2), blocks=2, attention_resolutions=(16,), dropout=0.1
    )
    config.network.num_classes = 0
    config.network.head_channels = 256
    config.network.scale_shift = False
    config.method.update(schedule="linear", num_classes=0)
    config.optimizer.update(
        learning_rate=2e-4, schedule="constant", warmup_steps=5000, ema_decay=0.9999
    )
    config.checkpoint.every_steps = 10_000
    config.log.every_steps = 100
    config.sample.update(every_steps=10_000, solver="ancestral_beta", steps=1000)
    config.evaluate.update(count=10_000, batch_size=250)
    return config


def diffusers() -> ConfigDict:
    """As launch/peers/diffusers_unet.py trains: its network, batch, loss and optimizer."""
    config = mnist()
    config.data.update(batch_size=128)
    config.network.update(
        multipliers=(1, 2, 2), blocks=2, attention_resolutions=(14, 7), head_channels=8
    )
    config.network.update(patch_size=1, num_classes=0, scale_shift=False)
    config.method.update(schedule="linear", num_classes=0)
    config.optimizer = ConfigDict(dict(name="adamw", learning_rate=1e-3, weight_decay=0.01))
    return config


def debug(config: ConfigDict) -> ConfigDict:
    """The same run in miniature: a small network, two steps, a few samples."""
    config.update(steps=2)
    config.data.batch_size = 8
    config.network.update(channels=8, head_channels=4, multipliers=(1, 1), blocks=1)
    config.network.attention_resolutions = config.network.attention_resolutions[:1]
    config.checkpoint.every_steps = 1
    config.log.every_steps = 1
    config.sample.update(count=8, steps=4)
    config.evaluate.update(count=8, batch_size=8)
    return config


VARIANTS = {"digits": digits, "mnist": mnist, "cifar10": cifar10, "diffusers": diffusers}
