"""Elucidating the Design Space of Diffusion-Based Generative Models (2206.00364)."""
