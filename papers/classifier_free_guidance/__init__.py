"""Classifier-Free Diffusion Guidance (2207.12598)."""
