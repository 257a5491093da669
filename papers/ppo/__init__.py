"""Proximal Policy Optimization Algorithms (1707.06347), with gymnax's table of returns."""
