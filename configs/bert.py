"""BERT: tokens hidden in a text are told from both sides (1810.04805).

    python -m launch.train --config=configs/bert.py:shakespeare --workdir=runs/bert
    python -m launch.evaluate --workdir=runs/bert
    python -m launch.sample --workdir=runs/bert --prompt="My <mask>, the king is dead."

shakespeare: 2048 byte-level BPE tokens, contexts of 64, 1.0M parameters; with a third of its steps,
--config.steps=1000, a hidden token has 4.0 nats, of bigrams 4.5 (papers/bert). base: the paper's
base size and its own layers, for an accelerator. Each has a `_debug` form of two steps.
"""

from typing import Any

from ml_collections import ConfigDict

from research.configuration import config_of

VARIANTS: dict[str, dict[str, Any]] = {
    "shakespeare": {
        "steps": 3000,
        "batch_size": 32,
        "learning_rate": 1e-3,
        "warmup_steps": 200,
        "data": dict(tokenizer="bpe", vocabulary_size=2048, length=64),
        "network": dict(width=128, layers=4, heads=4, positions="rotary", bias=False),
    },
    "base": {
        "steps": 1_000_000,
        "batch_size": 256,
        "learning_rate": 1e-4,
        "warmup_steps": 10_000,
        "data": dict(tokenizer="bpe", vocabulary_size=8192, length=512),
        "network": dict(
            width=768,
            layers=12,
            heads=12,
            norm_first=False,
            norm_epsilon=1e-12,
            embedding_norm=True,
            head=True,
            types=2,
            dropout=0.1,
            scan=True,
            dtype="bfloat16",
        ),
    },
}
DEBUG = {
    "steps": 2,
    "data.batch_size": 8,
    "data.length": 16,
    "data.vocabulary_size": 300,
    "network.width": 16,
    "network.layers": 2,
    "network.heads": 2,
    "optimizer.warmup_steps": 0,
    "checkpoint.every_steps": 1,
    "log.every_steps": 1,
    "sample.every_steps": 1,
    "evaluate.batch_size": 8,
}


def get_config(variant: str = "shakespeare") -> ConfigDict:
    """One of `VARIANTS`; `VARIANT_debug` runs in seconds."""
    return config_of(variant, VARIANTS, bert, debug=DEBUG, file=__file__)


def bert(
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    warmup_steps: int,
    data: dict[str, Any],
    network: dict[str, Any],
) -> ConfigDict:
    """AdamW with decay 0.01 of matrices and a rate that falls to 0, here by a cosine."""
    stacked = (None,) if network.get("scan") else ()  # the layers' axis
    return ConfigDict(
        dict(
            seed=0,
            steps=steps,
            steps_per_execution=10,
            data=dict(name="shakespeare", packing="windows", batch_size=batch_size, **data),
            network=dict(name="transformer", causal=False, activation="gelu_exact", **network),
            method=dict(name="masked_language_model", share=0.15),
            optimizer=dict(
                name="adamw",
                learning_rate=learning_rate,
                schedule="cosine",
                warmup_steps=warmup_steps,
                weight_decay=0.01,
                decayed=r"kernel$|tokens$|positions$",
                clip_norm=1.0,
            ),
            mesh=dict(data=-1, fsdp=1, tensor=1),
            sharding=[
                ("(qkv|up)/kernel$", (*stacked, "fsdp", "tensor")),
                ("(out|down)/kernel$", (*stacked, "tensor", "fsdp")),
                ("tokens$", (None, "fsdp")),
            ],
            checkpoint=dict(every_steps=500, keep=2),
            log=dict(every_steps=50),
            sample=dict(every_steps=500, count=4),
            evaluate=dict(count=0, batch_size=64),
        )
    )
