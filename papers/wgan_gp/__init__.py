"""Improved Training of Wasserstein GANs (1704.00028)."""
