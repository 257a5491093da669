"""FlashAttention (2205.14135)."""
