"""MiniLM, an encoder of sentences, fine-tuned to tell what a definition defines.

    python -m launch.train --config=configs/minilm.py:gloss_categories_lora --workdir=runs/glosses
    python -m launch.evaluate --workdir=runs/glosses

gloss_categories: a definition of WordNet -> one of 45 kinds, such as noun.animal; all weights move.
gloss_categories_lora: adapters of rank 8 on the attention's queries, keys and values, and the last
layer (2106.09685). gloss_categories_probe: the last layer alone.
gloss_words: a definition and a sentence -> the word of the sentence that is so defined. Of 3954 in
the test set, one seed: exact match 0.891 +- 0.005 (any token by chance 0.126, the rarest 0.311), F1
0.924 +- 0.004 (0.223, 0.436).

MiniLM's package, 84 MB, is fetched once; 1200 steps are minutes on one core. Each has a `_debug`
form of two steps, of a small fresh encoder; it fetches the dictionary alone.
"""

from typing import Any

from ml_collections import ConfigDict

from research.configuration import config_of

# The last layer starts from nothing, and moves faster than what is pretrained.
VARIANTS: dict[str, dict[str, Any]] = {
    "gloss_categories": {"rates": [("^encoder", 0.02)]},
    "gloss_categories_lora": {
        "rates": [("^encoder", 0.2)],
        "lora": dict(rank=8, alpha=16.0, adapted="attention/qkv/kernel$", trained="^head"),
    },
    "gloss_categories_probe": {"rates": [], "lora": dict(adapted=None, trained="^head")},
    "gloss_words": {
        "rates": [("^encoder", 0.02)],
        "method": "span_extractor",
        "data": "gloss_words",
        "length": 40,
        "steps": 400,
    },
}
DEBUG = {
    "steps": 2,
    "data.batch_size": 8,
    "data.tokenizer": "char",
    "data.length": 16,
    "network.length": 16,
    "network.width": 16,
    "network.layers": 2,
    "network.heads": 2,
    "method.pretrained": None,
    "optimizer.warmup_steps": 0,
    "checkpoint.every_steps": 1,
    "log.every_steps": 1,
    "sample.every_steps": 1,
    "evaluate.count": 16,
    "evaluate.batch_size": 8,
}


def get_config(variant: str = "gloss_categories_lora") -> ConfigDict:
    """One of `VARIANTS`; `VARIANT_debug` runs in seconds."""
    return config_of(variant, VARIANTS, minilm, debug=DEBUG, file=__file__)


def minilm(
    *,
    rates: list[tuple[str, float]],
    lora: dict[str, Any] | None = None,
    method: str = "text_classifier",
    data: str = "gloss_categories",
    length: int = 32,
    steps: int = 1200,
) -> ConfigDict:
    """The network of `research/pretrained/minilm.py`; AdamW at 5e-3, of the encoder's part less."""
    config = ConfigDict(
        dict(
            seed=0,
            steps=steps,
            data=dict(name=data, batch_size=32, tokenizer="minilm", length=length),
            network=dict(
                name="transformer",
                length=512,
                width=384,
                layers=6,
                heads=12,
                causal=False,
                norm_first=False,
                norm_epsilon=1e-12,
                activation="gelu_exact",
                embedding_norm=True,
                types=2,
                product_dtype="bfloat16",
            ),
            method=dict(name=method, pretrained="minilm"),
            optimizer=dict(
                name="adamw",
                learning_rate=5e-3,
                rates=rates,
                schedule="cosine",
                warmup_steps=50,
                weight_decay=0.01,
                clip_norm=1.0,
            ),
            mesh=dict(data=-1, fsdp=1, tensor=1),
            checkpoint=dict(every_steps=500, keep=1),
            log=dict(every_steps=50),
            sample=dict(every_steps=500, count=16),
            evaluate=dict(count=2000, batch_size=100),
        )
    )
    if lora is not None:
        config.lora = ConfigDict(lora)
    return config
