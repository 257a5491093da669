"""Variational Diffusion Models (2107.00630)."""
