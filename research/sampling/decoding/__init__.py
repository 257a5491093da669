"""Decoding: text from a language model, one file a strategy, over the model's cache."""

from research.sampling.decoding.automata import (
    Automaton,
    first_texts,
    grammar,
    regular_expression,
    token_texts,
)
from research.sampling.decoding.generation import Continuation, generate, stream
from research.sampling.decoding.model import Decoder
from research.sampling.decoding.strategies import STRATEGIES

__all__ = [
    "STRATEGIES",
    "Automaton",
    "Continuation",
    "Decoder",
    "first_texts",
    "generate",
    "grammar",
    "regular_expression",
    "stream",
    "token_texts",
]
