"""T5: an encoder-decoder, text to text (1910.10683), on descriptions of Debian's packages.

    python -m launch.train --config=configs/t5.py:summarize --workdir=runs/summarizer
    python -m launch.evaluate --workdir=runs/summarizer
    python -m launch.sample --workdir=runs/summarizer --prompt="Foo is a program that ..."

summarize: a package's short description after its long one; in 20 minutes of one core ROUGE-L 0.28
of 1000 tests, of the first twelve words 0.27 (papers/t5).
span: spans of 3 tokens, 15% of Shakespeare, written again after what is left; in a prompt of
`launch.sample` stands `___` for a span. In 10 minutes of one core 3.68 nats a target token, the
sentinels among them, and 0.35 of them told. Each has a `_debug` form of two steps.
"""

from typing import Any

from ml_collections import ConfigDict

from research.configuration import config_of

VARIANTS: dict[str, dict[str, Any]] = {
    "summarize": {
        "steps": 4000,
        "batch_size": 32,
        "learning_rate": 2e-3,
        "warmup_steps": 200,
        "data": dict(
            name="debian_descriptions",
            tokenizer="bpe",
            vocabulary_size=4096,
            input_length=72,
            target_length=24,
        ),
        "network": dict(
            width=192,
            layers=2,
            heads=4,
            hidden=768,
            positions="learned",
            dropout=0.2,
            copies=True,
        ),
        "method": dict(name="sequence_to_sequence"),
    },
    "span": {
        "steps": 3000,
        "batch_size": 16,
        "learning_rate": 1e-3,
        "warmup_steps": 100,
        "data": dict(
            name="shakespeare",
            tokenizer="unigram",
            vocabulary_size=2048,
            length=127,
            packing="windows",
        ),
        "network": dict(
            width=192, layers=3, heads=4, hidden=768, input_length=128, target_length=32
        ),
        "method": dict(name="span_corruption"),
    },
}
DEBUG = {
    "steps": 2,
    "steps_per_execution": 1,
    "data.batch_size": 8,
    "network.width": 16,
    "network.hidden": 16,
    "network.layers": 1,
    "network.heads": 2,
    "optimizer.warmup_steps": 0,
    "checkpoint.every_steps": 1,
    "log.every_steps": 1,
    "sample.every_steps": 1,
    "evaluate.count": 10,
    "evaluate.batch_size": 10,
}


def get_config(variant: str = "summarize") -> ConfigDict:
    """One of `VARIANTS`; `VARIANT_debug` runs in seconds."""
    return config_of(variant, VARIANTS, t5, debug=DEBUG, file=__file__)


def t5(
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    warmup_steps: int,
    data: dict[str, Any],
    network: dict[str, Any],
    method: dict[str, Any],
) -> ConfigDict:
    """Adam, a cosine to a tenth of the rate."""
    return ConfigDict(
        dict(
            seed=0,
            steps=steps,
            steps_per_execution=5,
            data=dict(batch_size=batch_size, **data),
            network=dict(name="encoder_decoder", product_dtype="bfloat16", **network),
            method=method,
            optimizer=dict(
                name="adam",
                learning_rate=learning_rate,
                schedule="cosine",
                final_rate=0.1,
                warmup_steps=warmup_steps,
                clip_norm=1.0,
                b2=0.98,
            ),
            mesh=dict(data=-1, fsdp=1, tensor=1),
            sharding=[
                ("(qkv|q|kv|up)/kernel$", ("fsdp", "tensor")),
                ("(out|down)/kernel$", ("tensor", "fsdp")),
                ("tokens$", (None, "fsdp")),
            ],
            checkpoint=dict(every_steps=1000, keep=1),
            log=dict(every_steps=50),
            sample=dict(every_steps=1000, count=8, strategy="beam", beams=4, length_penalty=1.0),
            evaluate=dict(count=500, batch_size=100),
        )
    )
