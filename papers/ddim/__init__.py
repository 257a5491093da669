"""Denoising Diffusion Implicit Models (2010.02502)."""
