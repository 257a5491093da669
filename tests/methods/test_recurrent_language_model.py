"""A recurrent language model: what it writes through its cache, and what it cannot do."""

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from research.configuration import load_config
from research.errors import InputError
from research.experiment import build
from research.methods.decoders import decoder
from research.sampling import decoding


@pytest.mark.parametrize(
    "network",
    [
        dict(name="recurrent", cell="gru", width=8),
        dict(name="tcn", width=8, levels=2, kernel_size=3),
    ],
)
def test_greedy_text_is_the_likeliest_token_after_token(network):
    config = load_config("configs/gpt.py:shakespeare_char_debug")
    config.network = ConfigDict(network)
    experiment = build(config)
    method = experiment.method
    state = jax.jit(method.init)(jax.random.key(0), experiment.example())
    options = dict(count=1, prompt="ROMEO", new_tokens=6, strategy="greedy")
    (text,) = method.sample(state, jax.random.key(0), **options)["texts"]
    tokens = method.tokenizer.encode("ROMEO").tolist()
    params = {"params": state.params["model"]}
    # Later tokens change nothing, so one length serves.
    apply = jax.jit(lambda tokens: method.network.apply(params, tokens)[0])
    for _ in range(6):
        padded = np.zeros((1, 11), np.int32)
        padded[0, : len(tokens)] = tokens
        last = apply(padded)[len(tokens) - 1]
        tokens.append(int(method.network.apply(params, last, method="logits").argmax()))
    assert text == method.tokenizer.decode(tokens)

    seen = decoder(method.network)
    drafts = dict(draft=seen, draft_params=params["params"])
    with pytest.raises(InputError, match="speculative needs models that can rewind"):
        decoding.generate(
            *(seen, params["params"], [[1]], jax.random.key(0)),
            **(dict(strategy="speculative", new_tokens=2, end=0) | drafts),
        )
