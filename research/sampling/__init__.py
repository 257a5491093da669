"""Samplers: one pure function an algorithm, over a denoiser and a schedule."""
