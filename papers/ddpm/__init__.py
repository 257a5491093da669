"""Denoising Diffusion Probabilistic Models (2006.11239)."""
