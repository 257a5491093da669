"""Improved Denoising Diffusion Probabilistic Models (2102.09672)."""
