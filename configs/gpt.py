"""GPT: a decoder that predicts the next token (GPT-2, Radford et al. 2019), on Shakespeare.

    python -m launch.train --config=configs/gpt.py:shakespeare_char --workdir=runs/shakespeare
    python -m launch.evaluate --workdir=runs/shakespeare
    python -m launch.sample --workdir=runs/shakespeare --prompt="ROMEO." --strategy=nucleus

shakespeare_char: nanoGPT's CPU setting, 0.8M parameters, 2000 steps, 1 to 3 minutes on 2 cores.
shakespeare_bpe: 2048 byte-level BPE tokens, whole documents packed, rotary positions, RMS norm and
SwiGLU. 10m: GPT-2's shape over characters, 10.9M parameters. 124m: the paper's smallest size over
GPT-2's own tokens, for an accelerator. Each has a `_debug` form of two steps.
"""

from typing import Any

from ml_collections import ConfigDict

from research.configuration import config_of

VARIANTS: dict[str, dict[str, Any]] = {
    "shakespeare_char": {
        "steps": 2000,
        "batch_size": 12,
        "learning_rate": 1e-3,
        "warmup_steps": 100,
        "data": dict(name="shakespeare", tokenizer="char", length=64, packing="windows"),
        "network": dict(width=128, layers=4, heads=4, bias=False, product_dtype="bfloat16"),
    },
    "shakespeare_bpe": {
        "steps": 3000,
        "batch_size": 8,
        "learning_rate": 1e-3,
        "warmup_steps": 100,
        "data": dict(
            name="shakespeare",
            tokenizer="bpe",
            vocabulary_size=2048,
            length=256,
            packing="documents",
        ),
        "network": dict(
            width=192,
            layers=6,
            heads=6,
            positions="rotary",
            norm="rms",
            activation="swiglu",
            hidden=512,
            bias=False,
            product_dtype="bfloat16",
        ),
    },
    "10m": {
        "steps": 5000,
        "batch_size": 64,
        "learning_rate": 1e-3,
        "warmup_steps": 100,
        "data": dict(name="shakespeare", tokenizer="char", length=512, packing="windows"),
        "network": dict(width=384, layers=6, heads=6, dropout=0.2, product_dtype="bfloat16"),
    },
    "124m": {
        "steps": 100_000,
        "batch_size": 480,
        "learning_rate": 6e-4,
        "warmup_steps": 2000,
        "b2": 0.95,
        "data": dict(name="shakespeare", tokenizer="gpt2", length=1024, packing="documents"),
        "network": dict(
            width=768, layers=12, heads=12, scan=True, remat=True, dtype="bfloat16", dropout=0.1
        ),
    },
}
DEBUG = {
    "steps": 2,
    "data.batch_size": 8,
    "data.length": 16,
    "network.width": 16,
    "network.layers": 2,
    "network.heads": 2,
    "optimizer.warmup_steps": 0,
    "checkpoint.every_steps": 1,
    "log.every_steps": 1,
    "sample.every_steps": 1,
    "sample.new_tokens": 24,
    "evaluate.count": 16,
    "evaluate.batch_size": 8,
}


def get_config(variant: str = "shakespeare_char") -> ConfigDict:
    """One of `VARIANTS`; `VARIANT_debug` runs in seconds."""
    return config_of(variant, VARIANTS, gpt, debug=DEBUG, file=__file__)


def gpt(
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    warmup_steps: int,
    data: dict[str, Any],
    network: dict[str, Any],
    b2: float = 0.99,
) -> ConfigDict:
    """AdamW as nanoGPT has it: decay 0.1 of matrices, a cosine to a tenth of the rate.

    b2 is 0.99 in its settings for characters, and 0.95 in that for GPT-2.
    """
    stacked = (None,) if network.get("scan") else ()  # the layers' axis
    return ConfigDict(
        dict(
            seed=0,
            steps=steps,
            steps_per_execution=10,
            data=dict(batch_size=batch_size, **data),
            network=dict(name="transformer", **network),
            method=dict(name="language_model"),
            optimizer=dict(
                name="adamw",
                learning_rate=learning_rate,
                schedule="cosine",
                final_rate=0.1,
                warmup_steps=warmup_steps,
                weight_decay=0.1,
                decayed=r"kernel$|tokens$|positions$",
                clip_norm=1.0,
                b2=b2,
            ),
            mesh=dict(data=-1, fsdp=1, tensor=1),
            sharding=[
                ("(qkv|up)/kernel$", (*stacked, "fsdp", "tensor")),
                ("(out|down)/kernel$", (*stacked, "tensor", "fsdp")),
                ("tokens$", (None, "fsdp")),
            ],
            checkpoint=dict(every_steps=500, keep=2),
            log=dict(every_steps=50),
            sample=dict(every_steps=500, count=4, new_tokens=256, strategy="nucleus"),
            evaluate=dict(count=64, batch_size=64),
        )
    )
