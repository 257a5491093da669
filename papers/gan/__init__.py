"""Generative Adversarial Nets (1406.2661)."""
