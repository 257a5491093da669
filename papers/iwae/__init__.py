"""Importance Weighted Autoencoders (1509.00519)."""
