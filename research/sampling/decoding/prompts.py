"""Prompts as a model takes them: checked, and padded to one of few sizes.

A program is compiled for a batch, a length of prompts and a capacity of the cache. Both lengths
are a `bucket`: the least power of two that holds the longest prompt, and the longest prompt with
its continuation, 16 at least and at most what the model takes. So lengths of one bucket share
their programs. Where tokens are drawn one by one a cache grows from 128 on, each time by half: a
step reads what there is of it.
"""

import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from research.errors import InputError, check_least
from research.sampling.decoding.model import Decoder, Prompts, Tokens

LEAST = 16
UNGROWN = 128  # the largest capacity that a cache has from the start whatever it needs


def bucket(count: int, limit: int) -> int:
    """The least power of two that is `count` or more, from `LEAST` on, but at most `limit`."""
    return min(max(LEAST, 1 << (count - 1).bit_length()), limit)


def padded(decoder: Decoder, prompts: Sequence[Tokens], new_tokens: int) -> tuple[Prompts, int]:
    """The prompts in one array, and the cache's capacity.

    Raises:
      InputError: no prompt, an empty one, one too long for the model, or an unknown token.
    """
    check_least(1, new_tokens=new_tokens)
    if not len(prompts):
        raise InputError("there is no prompt; give at least one")
    check(decoder, prompts, new_tokens)
    counts = np.array([len(prompt) for prompt in prompts], np.int32)
    longest = int(counts.max())
    tokens = np.zeros((len(prompts), bucket(longest, decoder.length)), np.int32)
    for row, prompt in enumerate(prompts):
        tokens[row, : len(prompt)] = prompt
    capacity = bucket(longest + new_tokens, decoder.length)
    return Prompts(jnp.asarray(tokens), jnp.asarray(counts)), capacity


def capacities(prompt: int, whole: int) -> list[int]:
    """What a cache of `whole` tokens grows through: the first holds the prompt and a token more."""
    sizes = [bucket(max(prompt + 1, UNGROWN), whole)]
    while sizes[-1] < whole:
        sizes.append(min(32 * math.ceil(1.5 * sizes[-1] / 32), whole))
    return sizes


def check(
    decoder: Decoder, prompts: Sequence[Tokens], new_tokens: int, *, named: str = "prompt"
) -> None:
    """Raises InputError as `padded` does, with what the prompts are and the wrong one's row."""
    for row, prompt in enumerate(map(np.asarray, prompts)):
        if not len(prompt):
            raise InputError(f"{named} {row} is empty; it must have at least one token")
        if len(prompt) + new_tokens > decoder.length:
            raise InputError(
                f"{named} {row} has {len(prompt)} tokens: with {new_tokens} new ones that is "
                f"{len(prompt) + new_tokens}, and the model takes {decoder.length}"
            )
        unknown = prompt[(prompt < 0) | (prompt >= decoder.vocabulary)]
        if len(unknown):
            raise InputError(
                f"{named} {row} has token {unknown[0]}; "
                f"the model's are 0 to {decoder.vocabulary - 1}"
            )
