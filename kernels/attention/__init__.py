"""Attention by hand: value and gradient, and decoding over a cache of keys and values."""

from kernels.attention.api import attention

__all__ = ["attention"]
