"""A recurrent language model over Shakespeare's characters (Sutskever et al. 2011, Graves 2013).

    python -m launch.train --config=configs/lstm.py:shakespeare_char --workdir=runs/lstm
    python -m launch.evaluate --workdir=runs/lstm
    python -m launch.sample --workdir=runs/lstm --prompt="ROMEO." --strategy=nucleus

Two layers of 192 LSTM cells, 0.6M parameters, reset at every window of 64 characters; the text of
`configs/gpt.py:shakespeare_char`, 2.7 times as much of it: test loss 1.69 nats a character, bigrams
2.50. `--config.network.cell=gru` or `rnn` puts other cells in their place. `shakespeare_char_debug`
runs two steps.
"""

from ml_collections import ConfigDict

from research.configuration import split_variant

DEBUG = {
    "steps": 2,
    "data.batch_size": 8,
    "data.length": 16,
    "network.width": 16,
    "checkpoint.every_steps": 1,
    "log.every_steps": 1,
    "sample.every_steps": 1,
    "sample.new_tokens": 24,
    "evaluate.count": 16,
    "evaluate.batch_size": 8,
}
VARIANTS = ("shakespeare_char",)


def get_config(variant: str = "shakespeare_char") -> ConfigDict:
    """The recipe; `shakespeare_char_debug` runs in seconds."""
    _, is_debug = split_variant(variant, VARIANTS, __file__)
    config = shakespeare_char()
    if is_debug:
        config.update_from_flattened_dict(DEBUG)
    return config


def shakespeare_char() -> ConfigDict:
    return ConfigDict(
        dict(
            seed=0,
            steps=2000,
            steps_per_execution=10,
            data=dict(
                name="shakespeare", tokenizer="char", length=64, packing="windows", batch_size=32
            ),
            network=dict(name="recurrent", cell="lstm", width=192, layers=2),
            method=dict(name="language_model"),
            optimizer=dict(name="adam", learning_rate=3e-3, schedule="cosine", clip_norm=1.0),
            mesh=dict(data=-1, fsdp=1, tensor=1),
            checkpoint=dict(every_steps=500, keep=2),
            log=dict(every_steps=50),
            sample=dict(every_steps=500, count=4, new_tokens=256, strategy="nucleus"),
            evaluate=dict(count=64, batch_size=64),
        )
    )
