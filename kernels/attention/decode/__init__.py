"""Attention of one new query a sequence over a cache of keys and values, dense or in pages."""

from kernels.attention.decode.api import decode_attention, paged_decode_attention

__all__ = ["decode_attention", "paged_decode_attention"]
