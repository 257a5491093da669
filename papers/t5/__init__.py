"""Exploring the Limits of Transfer Learning with a Text-to-Text Transformer (1910.10683)."""
