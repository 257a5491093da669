"""Draws tokens from logits: temperature, top-k, top-p and min-p in one op, and its parts."""

from kernels.sampling.api import Draw, categorical, sample
from kernels.sampling.filters import log_probs, min_p_filter, top_k_filter, top_p_filter

__all__ = [
    "Draw",
    "categorical",
    "log_probs",
    "min_p_filter",
    "sample",
    "top_k_filter",
    "top_p_filter",
]
