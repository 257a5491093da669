"""The workshop: data, networks, methods, samplers, evaluation and the one training loop."""
