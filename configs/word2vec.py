"""Word vectors of dictionary definitions: skip-gram (1310.4546), and GloVe (Pennington 2014).

    python -m launch.train --config=configs/word2vec.py:skipgram --workdir=runs/words
    python -m launch.evaluate --workdir=runs/words
    python -m launch.sample --workdir=runs/words --words="dog river king" --count=3 --out=near.txt

`data.corpus` is a corpus, a file, or a set of pairs: glosses are WordNet's 117,791 definitions, 1.4
million words. skipgram: half a minute of one core, cosines that agree with WordSim-353 at 0.53 of
rank correlation; papers/word2vec has more. glove: a quarter of a minute; the weighted squared
error of log counts in held-out definitions is 1.04, of independent words 5.2 (trained: 0.11).
Each has a `_debug` form of two steps.
"""

from typing import Any

from ml_collections import ConfigDict

from research.configuration import config_of

VARIANTS: dict[str, dict[str, Any]] = {
    "skipgram": {
        "steps": 3000,
        "learning_rate": 3e-3,
        "data": dict(name="word_pairs", window=5, subsample=1e-4),
        "network": dict(bias=False),
        "method": dict(name="skip_gram", negatives=5),
    },
    "glove": {
        "steps": 3000,
        "learning_rate": 3e-3,
        "data": dict(name="cooccurrences", window=10),
        "network": dict(bias=True),
        "method": dict(name="glove", cutoff=10.0),
    },
}
DEBUG = {
    "steps": 2,
    "steps_per_execution": 1,
    "data.corpus": "shakespeare",
    "data.vocabulary_size": 500,
    "data.batch_size": 16,
    "data.window": 2,
    "network.width": 8,
    "checkpoint.every_steps": 1,
    "log.every_steps": 1,
    "sample.every_steps": 1,
    "evaluate.count": 16,
    "evaluate.batch_size": 8,
}


def get_config(variant: str = "skipgram") -> ConfigDict:
    """`skipgram` or `glove`; `VARIANT_debug` runs in seconds."""
    return config_of(variant, VARIANTS, word2vec, debug=DEBUG, file=__file__)


def word2vec(
    *,
    steps: int,
    learning_rate: float,
    data: dict[str, Any],
    network: dict[str, Any],
    method: dict[str, Any],
) -> ConfigDict:
    """Adam, whose rate falls to 0 as word2vec's does."""
    return ConfigDict(
        dict(
            seed=0,
            steps=steps,
            steps_per_execution=10,
            data=dict(corpus="glosses", vocabulary_size=8000, batch_size=4096, **data),
            network=dict(name="word_vectors", width=64, **network),
            method=method,
            optimizer=dict(name="adam", learning_rate=learning_rate, schedule="cosine"),
            mesh=dict(data=-1, fsdp=1, tensor=1),
            sharding=[("(words|contexts)$", ("fsdp", None))],
            checkpoint=dict(every_steps=1000, keep=2),
            log=dict(every_steps=100),
            sample=dict(every_steps=1000, count=16),
            evaluate=dict(count=16, batch_size=1024),
        )
    )
