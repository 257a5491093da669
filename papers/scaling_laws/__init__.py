"""Scaling Laws for Neural Language Models (2001.08361)."""
