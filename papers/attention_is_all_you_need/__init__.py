"""Attention Is All You Need (1706.03762)."""
