"""Tighter Variational Bounds are Not Necessarily Better (1802.04537)."""
