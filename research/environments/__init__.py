"""Worlds for agents: pure, jit-compiled, in gymnax's interface."""
