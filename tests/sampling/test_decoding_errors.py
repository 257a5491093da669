"""Decoding's errors: weights that are not finite, and bad input, each one line."""

import jax
import numpy as np
import pytest

from research.errors import InputError
from research.sampling.decoding import generate, grammar, stream
from tests.sampling.language_models import ORDER_2, RECURRENT, V, parameters

PARAMS = parameters(0)
RNG = jax.random.key(1)


def run(prompts, strategy, *, new_tokens=8, params=PARAMS, **settings):
    return generate(
        ORDER_2, params, prompts, RNG, new_tokens=new_tokens, strategy=strategy, **settings
    )


@pytest.mark.parametrize("strategy", ["nucleus", "greedy", "beam", "contrastive"])
def test_weights_that_are_not_finite_are_named(strategy):
    broken = jax.tree.map(lambda leaf: leaf * np.nan, PARAMS)
    with pytest.raises(InputError, match="prompt 0: the model's logits are not finite"):
        run([[1]], strategy, params=broken)


@pytest.mark.parametrize("strategy", ["nucleus", "greedy", "beam", "contrastive"])
def test_what_diverges_on_the_way_is_named(strategy):
    """Of two prompts the one whose second token has no finite logits."""
    broken = PARAMS | {"hidden": PARAMS["hidden"].at[2].set(np.nan)}
    for texts, bad in (([[1], [2]], 1), ([[2], [1]], 0)):
        with pytest.raises(InputError, match=f"prompt {bad}: the model's logits are not finite"):
            run(texts, strategy, new_tokens=2, params=broken)


ALL = grammar([dict.fromkeys(range(1, V), 0)], {0}, V + 1, end=0)
BAD = {
    "no strategy 'nucleos'; nearest: nucleus": dict(strategy="nucleos"),
    "nucleus takes no setting 'topp'; nearest: top_p": dict(topp=0.9),
    "greedy takes no setting 'temperature'": dict(strategy="greedy", temperature=0.5),
    "beam takes no setting 'constraint'": dict(strategy="beam", constraint=ALL),
    "top_p must be above 0, 1e-30 at least, and at most 1, got 2.0": dict(top_p=2.0),
    "top_k must be an integer from 1 to V = 5, got 9": dict(strategy="top_k", top_k=9),
    "min_p must be from 0 to 1": dict(strategy="min_p", min_p=-1.0),
    "temperature must be 0, or from 1e-30": dict(temperature=-1.0),
    "repetition_penalty is 0.0; it must be above 0": dict(repetition_penalty=0.0),
    "repetition_penalty is inf; it must be a finite": dict(repetition_penalty=float("inf")),
    "guidance needs a negative prompt": dict(guidance=2.0),
    "there are 2 negative prompts for 1 prompts": dict(negative_prompts=[[1], [2]]),
    "negative prompt 0 is empty": dict(negative_prompts=[[]]),
    "negative prompt 1 has token 7; the model's are 0 to 4": dict(
        prompts=[[1], [2]], negative_prompts=[[1], [7]]
    ),
    "negative prompt 0 has 60 tokens: with 8 new ones": dict(negative_prompts=[[1] * 60]),
    "there is no prompt": dict(prompts=[]),
    "prompt 0 is empty": dict(prompts=[[]]),
    "prompt 1 has token 5; the model's are 0 to 4": dict(prompts=[[1], [5]]),
    "prompt 1 has token 6; the model's": dict(prompts=[[1], [6]], negative_prompts=[[1], [2]]),
    "prompt 0 has 60 tokens: with 8 new ones that is 68, and the model takes 64": dict(
        prompts=[[1] * 60]
    ),
    "new_tokens is 0": dict(new_tokens=0),
    "end is 5; the model's tokens are below 5": dict(end=5),
    "the constraint is over 6 tokens; the model has 5": dict(constraint=ALL, end=0),
    "beams is 0": dict(strategy="beam", beams=0),
    "length_penalty is -1.0": dict(strategy="beam", length_penalty=-1.0),
    "length_penalty is 60.0; it must be from 0 to 7.0": dict(strategy="beam", length_penalty=60.0),
    "alpha is 2.0": dict(strategy="contrastive", alpha=2.0),
    "contrastive needs top_k": dict(strategy="contrastive", top_k=None),
    "guidance is inf; it must be a finite number": dict(
        negative_prompts=[[2]], guidance=float("inf")
    ),
    "guidance is nan": dict(negative_prompts=[[2]], guidance=float("nan")),
    "speculative needs draft, a decoder": dict(strategy="speculative"),
    "models that can rewind": dict(strategy="speculative", draft=RECURRENT, draft_params=PARAMS),
    "draft_tokens is 0": dict(
        strategy="speculative", draft=ORDER_2, draft_params=PARAMS, draft_tokens=0
    ),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_one_line(message):
    asked = {"prompts": [[1]], "strategy": "nucleus", **BAD[message]}
    with pytest.raises(InputError) as error:
        run(**asked)
    assert message in str(error.value) and "\n" not in str(error.value)
    if message.startswith("prompt"):
        assert str(error.value).startswith("prompt")
    if "strategy" not in message:
        new_tokens = asked.pop("new_tokens", 8)
        with pytest.raises(InputError):
            stream(ORDER_2, PARAMS, asked.pop("prompts"), RNG, new_tokens=new_tokens, **asked)
