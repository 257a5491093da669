"""Peers: one page each, run by `launch.compare` in a virtual environment of its own."""
